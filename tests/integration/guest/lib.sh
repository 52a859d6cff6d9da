# SPDX-License-Identifier: GPL-2.0-only
# What a case's guest.sh can use. It defines before, loaded, disabled and unloaded, or a run of its
# own; each calls checks (has, lacks, is, fails) and the step fails if one of them did.

# One line of the protocol. Level 1: always on the console.
say() { echo "<1>KTEST $*" >/dev/kmsg; }

# --- checks: each notes what was wrong and goes on ---------------------------------------------

wrong() { WRONG="$WRONG; $*"; }

# has TEXT COMMAND...: the command's output contains TEXT.
has() {
	text=$1
	shift
	output=$("$@" 2>&1)
	case $output in
	*"$text"*) ;;
	*) wrong "'$*' lacks '$text', it is '$output'" ;;
	esac
}

# lacks TEXT COMMAND...: the command works and its output does not contain TEXT.
lacks() {
	text=$1
	shift
	output=$("$@" 2>&1) || wrong "'$*' failed with '$output'"
	case $output in
	*"$text"*) wrong "'$*' has '$text'" ;;
	esac
}

# is TEXT COMMAND...: the command's output is TEXT.
is() {
	text=$1
	shift
	output=$("$@" 2>&1)
	[ "$output" = "$text" ] || wrong "'$*' is '$output', not '$text'"
}

# fails COMMAND...: the command does not succeed.
fails() {
	if output=$("$@" 2>&1); then wrong "'$*' works"; fi
}

# works COMMAND...: the command succeeds.
works() {
	output=$("$@" 2>&1) || wrong "'$*' failed with '$output'"
}

# --- steps -------------------------------------------------------------------------------------

# step NAME FUNCTION [ARG...]: runs the function and reports.
step() {
	name=$1
	shift
	WRONG=
	"$@"
	if [ -z "$WRONG" ]; then
		say "$CASE" "$name" pass
	else
		say "$CASE" "$name" fail "$(echo "${WRONG#; }" | tr '\n\t' '  ' | cut -c1-700)"
	fi
}

# --- modules -----------------------------------------------------------------------------------

# stock MODULE: loads a module of this kernel and what it depends on.
stock() {
	for module in $(cat "/modules/$1.order"); do
		[ -d "/sys/module/$module" ] || works insmod "/modules/$module.ko" $2
	done
}

# until_gone FILE / settled PATCH: waits for the kernel, at most 60 s.
until_gone() {
	tries=0
	while [ -e "$1" ]; do
		tries=$((tries + 1))
		[ $tries -le 600 ] || { wrong "$1 is still there after 60 s"; return; }
		usleep 100000
	done
}

# until_in PID FUNCTION: waits until a task sleeps in FUNCTION, at most 60 s.
until_in() {
	tries=0
	until grep -q "$2" "/proc/$1/stack" 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -le 600 ] || { wrong "$1 is not in $2 after 60 s"; return; }
		usleep 100000
	done
}

settled() {
	tries=0
	while [ "$(cat "/sys/kernel/livepatch/$1/transition" 2>/dev/null || echo 0)" != 0 ]; do
		tries=$((tries + 1))
		[ $tries -le 600 ] || { wrong "the transition of $1 did not end in 60 s"; return; }
		usleep 100000
	done
}

# name_of BUILD: the name of a build's module.
name_of() { cat "/guest/$CASE/$1.name"; }

# klp_load BUILD: loads a patch and waits until every task runs it.
klp_load() {
	patch=$(name_of "$1")
	works insmod "/guest/$CASE/$1.ko"
	settled "$patch"
	is 1 cat "/sys/kernel/livepatch/$patch/enabled"
}

# klp_disable BUILD: disables a patch and waits until no task runs it.
klp_disable() {
	patch=$(name_of "$1")
	echo 0 >"/sys/kernel/livepatch/$patch/enabled" || wrong "cannot disable $patch"
	until_gone "/sys/kernel/livepatch/$patch"
}

# klp_unload BUILD: unloads a disabled patch; one that holds a reference on itself must stay.
klp_unload() {
	patch=$(name_of "$1")
	# The kernel drops its own reference shortly after the patch's folder is gone.
	tries=0
	while [ "$(cat "/sys/module/$patch/refcnt")" != 0 ] && [ $tries -lt 20 ]; do
		tries=$((tries + 1))
		usleep 100000
	done
	if [ "$PINNED" = yes ]; then
		fails rmmod "$patch"
		[ -d "/sys/module/$patch" ] || wrong "$patch is gone"
	else
		works rmmod "$patch"
		[ ! -d "/sys/module/$patch" ] || wrong "$patch is still there, held $(cat "/sys/module/$patch/refcnt") times"
	fi
}

# --- the usual course --------------------------------------------------------------------------

usual() {
	setup() { :; }
	disabled() { before; }
	unloaded() { before; }
}
usual

step_loaded() { klp_load main; loaded; }
step_disabled() { klp_disable main; disabled; }
step_unloaded() { klp_unload main; unloaded; }

run() {
	step before before
	step loaded step_loaded
	step disabled step_disabled
	step unloaded step_unloaded
}

# each FUNCTION: that function of every case that this one takes along. They overwrite each other's.
each() {
	for other in $ALONG; do
		known=$WRONG
		usual
		. "/guest/$CASE/along/$other.sh"
		"$1"
		[ "$WRONG" = "$known" ] || wrong "(this was $1 of $other)"
	done
}

# run_case CASE: in a subshell, so that cases cannot leave functions behind.
run_case() {
	CASE=$1
	. "/guest/$CASE/env"
	. "/guest/$CASE/guest.sh"
	say "$CASE" begin
	WRONG=
	setup
	[ -z "$WRONG" ] || say "$CASE" setup fail "$WRONG"
	run
	say "$CASE" end
}

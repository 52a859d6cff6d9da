# SPDX-License-Identifier: GPL-2.0-only
# The scripts of tools/testing/selftests/livepatch, one a step. They are run as the kernel's make runs
# them: in their folder, with the modules in test_modules/. One of these is not ours: test_klp_shadow_vars
# is no livepatch, which the script insists on, and prints what constructors of C are called with.

setup() {
	mount -t debugfs debugfs /sys/kernel/debug
	# bash reads what a command in <() prints from there.
	ln -s /proc/self/fd /dev/fd
	cd "/guest/$CASE" || wrong "no folder"
	ln -s . test_modules
	ln -s /bin/test_klp-call_getpid test_klp-call_getpid
	# They only ask whether it is there; the modules are built.
	export KDIR=/tmp
}

# selftest NAME: the script ends well, and every test that it starts is `ok`.
selftest() {
	"./test-$1.sh" >/tmp/output 2>&1
	code=$?
	started=$(grep -c '^start_test ' "test-$1.sh")
	passed=$(grep -c '^TEST: .* \.\.\. ok$' /tmp/output)
	if [ "$code" != 0 ] || [ "$started" = 0 ] || [ "$passed" != "$started" ]; then
		cat /tmp/output >/dev/kmsg
		wrong "exit code $code, $passed of $started tests passed: $(grep -e '^[-+][^-+]' -e ERROR /tmp/output)"
		tidy
	fi
}

# A script that fails leaves its modules to the next one.
tidy() {
	for enabled in /sys/kernel/livepatch/*/enabled; do
		patch=${enabled%/enabled}
		[ ! -e "$enabled" ] || { echo 0 >"$enabled"; until_gone "$patch"; }
	done
	rmmod $(cut -d' ' -f1 /proc/modules)
}

# The script has a loop of system calls on each processor, so that none is ever idle. At both ends of a
# transition the kernel changes hundreds of its calls, one after the other, and waits for all
# processors each time. Emulated they take turns of a tenth of a second: that would be minutes.
on_one_processor() {
	cpu=/sys/devices/system/cpu/cpu1/online
	echo 0 >$cpu || wrong "the second processor does not go off"
	"$@"
	echo 1 >$cpu || wrong "the second processor does not come back"
}

run() {
	for name in callbacks ftrace livepatch shadow-vars state; do
		step "$name" selftest "$name"
	done
	step syscall on_one_processor selftest syscall
	step sysfs selftest sysfs
}

# SPDX-License-Identifier: GPL-2.0-only
# Rounds before the first look: some caches grow with the first of anything.
FIRST=2

# cycle: in and out again, with a look at what the patch says.
cycle() {
	klp_load endure
	is patched cat /proc/version
	klp_disable endure
	klp_unload endure
}

# cycles COUNT: the like under load: two tasks that fork and read, for two processors.
cycles() {
	churn /proc/version >/tmp/churn.1 &
	first=$!
	churn /proc/version >/tmp/churn.2 &
	second=$!
	count=0
	while [ $count -lt "$1" ] && [ -z "$WRONG" ]; do
		cycle
		count=$((count + 1))
	done
	kill $first $second
	wait $first
	wait $second
	for load in /tmp/churn.1 /tmp/churn.2; do
		forks=0
		failed=0
		eval "$(cat $load)"
		[ "$forks" -gt $((3 * $1)) ] || wrong "the load forked $forks times only"
		[ "$failed" = 0 ] || wrong "forks and reads failed: $(cat $load)"
	done
}

# Pages that the kernel mapped for itself, modules among them; not the tasks' stacks.
pages() {
	awk '!/kernel_clone/ { for (i = 1; i <= NF; i++) if (sub(/^pages=/, "", $i)) sum += $i }
		END { print sum }' /proc/vmallocinfo
}

objects() { awk -v "cache=$1" '$1 == cache { print $2 }' /proc/slabinfo; }

# kB of objects that have no cache of their own.
kmalloc() { awk '/^kmalloc-[0-9]/ { sum += $2 * $4 } END { print int(sum / 1024) }' /proc/slabinfo; }

# used: what is left of the kernel's memory when all is quiet: what waits for others to finish with it had its
# time, and what each processor kept for later is counted as free.
used() {
	for time in 1 2 3; do
		sync
		echo 3 >/proc/sys/vm/drop_caches
		for cache in /sys/kernel/slab/*/shrink; do echo 1 >"$cache"; done
		sleep 1
	done
	echo "$(pages) $(objects kmalloc-2k) $(objects kernfs_node_cache) $(kmalloc)"
}

# Also that the looks see anything: a module that is there.
before() {
	cycles $FIRST
	usual=$(pages)
	klp_load endure
	[ "$(pages)" -gt "$usual" ] || wrong "a loaded module has no pages"
	klp_disable endure
	klp_unload endure
	old=$(used)
	has "all of " dmesg
	lacks "not all of" dmesg
}

endured() {
	cycles "$CYCLES"
	lacks "not all of" dmesg
}

# Of pages and objects that a patch has, not one may be left of two rounds. What is allocated of no special kind
# comes and goes by some 10 kB with what others do, so it takes more to mean anything.
nothing_left() {
	new=$(used)
	say - note "$CYCLES rounds: $old to $new pages, objects, sysfs nodes, kB of kmalloc"
	set -- $old $new
	[ $(($5 - $1)) -lt $((CYCLES / 2)) ] || wrong "$1 pages became $5"
	[ $(($6 - $2)) -lt $((CYCLES / 2)) ] || wrong "$2 objects as large as shadow variables became $6"
	[ $(($7 - $3)) -lt $((CYCLES / 2)) ] || wrong "$3 nodes of sysfs became $7"
	[ $(($8 - $4)) -lt 128 ] || wrong "$4 kB of kmalloc became $8"
	is "" ls /sys/kernel/livepatch
	lacks endure cat /proc/modules
	has "Linux version" cat /proc/version
}

run() {
	step before before
	step endured endured
	step nothing-left nothing_left
}

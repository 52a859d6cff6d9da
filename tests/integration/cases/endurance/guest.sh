# SPDX-License-Identifier: GPL-2.0-only
PATCH=/sys/kernel/livepatch/endure

# One time in and out again.
cycle() {
	klp_load endure
	has patched cat /proc/version
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
	wait $first $second
}

# used: what there is of the kernel's memory when all is quiet, in files that are compared later.
used() {
	for quiet in 1 2 3; do
		echo 3 >/proc/sys/vm/drop_caches
		echo 1 >/sys/kernel/mm/slab_shrink 2>/dev/null
		sleep 1
	done
	awk '$1 ~ /^kmalloc-2k$/ { print $2 }' /proc/slabinfo >"/tmp/$1.shadow"
	awk 'NR > 2 { sum += $2 * $4 } END { print int(sum / 1024) }' /proc/slabinfo >"/tmp/$1.slab"
	grep -c -e execmem -e module_alloc /proc/vmallocinfo >"/tmp/$1.modules"
	awk '/execmem|module_alloc/ { sum += $2 } END { print int(sum / 1024) }' /proc/vmallocinfo >"/tmp/$1.modulesk"
	cat /proc/slabinfo >/tmp/$1.slabinfo
	grep -e MemFree -e Slab -e Vmalloc -e Percpu /proc/meminfo | tr -d '\n'
	cat /tmp/$1.*[a-mo-z] | tr '\n' ' '
}

run() {
	cycles 3
	used a
	cycles 10
	used b
	cycles 10
	used c
	sleep 2
	grep -e execmem -e module /proc/vmallocinfo
	diff /tmp/b.slabinfo /tmp/c.slabinfo
	cat /tmp/churn.1
}

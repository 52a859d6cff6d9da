# SPDX-License-Identifier: GPL-2.0-only
limit() { awk '/^CommitLimit:/ { print $2 }' /proc/meminfo; }
ratio() { echo "$1" >/proc/sys/vm/overcommit_ratio; }

setup() {
	usual=$(limit)
	ratio 40
	less=$(limit)
	ratio 50
}

# limits MORE: the kernel's own variable still has its say.
limits() {
	is $((usual + $1)) limit
	ratio 40
	is $((less + $1)) limit
	ratio 50
}

before() { limits 0; }
loaded() { limits 4000; }

# SPDX-License-Identifier: GPL-2.0-only
# A process is warned once, until one of another name is, and no more than five times in all.
old() { cat /proc/sys/net/ipv6/neigh/default/retrans_time; }
other() { head -n 1 /proc/sys/net/ipv6/neigh/default/retrans_time; }
said() { dmesg | grep -c "process .* is using deprecated sysctl"; }
said_by_patch() { dmesg | grep -c "kpatch: process .* is using deprecated sysctl"; }

before() {
	works old
	is 1 said
	works old
	is 1 said
}
loaded() {
	works old
	is 1 said
	works other
	is 2 said
	is 1 said_by_patch
}
disabled() {
	works other
	is 2 said
	works old
	is 3 said
	is 1 said_by_patch
}
unloaded() {
	works old
	is 3 said
}

# SPDX-License-Identifier: GPL-2.0-only
stats=/sys/fs/xfs/stats/stats
control=/proc/dynamic_debug/control
debug() { echo "func xfs_stats_format $1" >$control; }
said() { dmesg | grep -c 'kpatch: statistics of'; }

before() {
	stock xfs
	has extent_alloc cat $stats
	lacks kpatch cat $stats
	works rmmod xfs
}

# The patch is there first. Each part of it has its say.
loaded() {
	stock xfs
	has "kpatch first" cat $stats
	has "kpatch later" cat $stats
	lacks "kpatch first" cat $stats
	has "kpatch irqs 1 0" cat $stats
	has "kpatch netlink 1" cat $stats
	heard=$(said)
	debug +p
	has extent_alloc cat $stats
	is $((heard + 1)) said
	debug -p
	has extent_alloc cat $stats
	is $((heard + 1)) said
	works rmmod xfs
}

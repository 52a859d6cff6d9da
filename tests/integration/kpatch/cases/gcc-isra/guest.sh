# SPDX-License-Identifier: GPL-2.0-only
group=/tmp/kpatch-cgroup
setup() {
	mkdir -p $group
	works mount -t cgroup2 none $group
	works sh -c "echo +pids >$group/cgroup.subtree_control"
	works mkdir $group/one
	works sh -c "echo 33 >$group/one/pids.max"
}

before() { is "max 0" cat $group/one/pids.events; }
loaded() { is "max 0 kpatch 33" echo $(cat $group/one/pids.events); }
unloaded() {
	before
	works rmdir $group/one
	works umount $group
}

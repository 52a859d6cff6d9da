# SPDX-License-Identifier: GPL-2.0-only
setup() {
	stock loop
	works readkey add
}

sizes() {
	lacks "$2" cat /proc/modules
	lacks "$3" cat /proc/mounts
	is "$1" readkey size
}

# prepared: how often the patched function of sockets has said so; it does once.
prepared() { dmesg | grep -c "kpatch: a socket's memory is prepared"; }

before() {
	sizes 5 "(a module)" "(a mount)"
	was=$(prepared)
	works readkey sockets
	is "$was" prepared
}

loaded() {
	# Each does what it should, and not what the other should.
	sizes 1005 "(a mount)" "(a module)"
	has "(a module)" grep "^loop " /proc/modules
	has "(a mount) proc /proc proc" cat /proc/mounts
	has "m_show,1" ls "/sys/kernel/livepatch/$(name_of main)/vmlinux"
	has "m_show,2" ls "/sys/kernel/livepatch/$(name_of main)/vmlinux"
	is 0 prepared
	works readkey sockets
	is 1 prepared
	has "user_read,1" ls "/sys/kernel/livepatch/$(name_of main)/vmlinux"
}

run() {
	step before before
	step loaded step_loaded
	step disabled step_disabled
	step unloaded step_unloaded
	rmmod loop
}

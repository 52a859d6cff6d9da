# SPDX-License-Identifier: GPL-2.0-only
setup() {
	ip link set lo up
}

# What the kernel keeps free, in kB, is four times the root of the kB that it has. It is computed anew without
# khugepaged.
reserve() {
	echo always >/sys/kernel/mm/transparent_hugepage/enabled
	echo never >/sys/kernel/mm/transparent_hugepage/enabled
	cat /proc/sys/vm/min_free_kbytes
}
less() { [ "$($1)" -lt "$2" ]; }
bad_checksums() { awk '/^Icmp: [0-9]/ { print $4 }' /proc/net/snmp; }
sent() { ping -c 1 -W 2 127.0.0.1; }

before() {
	bad=$(bad_checksums)
	works sent
	is "$bad" bad_checksums
	works less reserve 5000
}

# The checksum of what comes in is another one now.
loaded() {
	bad=$(bad_checksums)
	fails sent
	is "$((bad + 1))" bad_checksums
	fails less reserve 5000
}

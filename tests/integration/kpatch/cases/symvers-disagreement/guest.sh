# SPDX-License-Identifier: GPL-2.0-only
setup() { stock dummy; }

said() { dmesg | grep -c 'kpatch: renaming to'; }

renamed() {
	count=$(said)
	works ip link set dummy0 name kpatch0
	works ip link set kpatch0 name dummy0
	is $((count + $1)) said
}

before() { renamed 0; }
loaded() { renamed 2; }

# SPDX-License-Identifier: GPL-2.0-only
texts() { cat /sys/devices/system/cpu/vulnerabilities/*; }

before() {
	has "Not affected" texts
	lacks kpatch texts
}
loaded() { has "Not affected, says kpatch" texts; }

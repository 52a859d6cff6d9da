# SPDX-License-Identifier: GPL-2.0-only
newpid() { sh -c 'sed -n "s/^newpid:\t//p" /proc/self/status'; }

before() { is "" newpid; }

# Whoever was made before has none. The numbers grow, and are given once.
loaded() {
	lacks newpid cat /proc/1/status
	first=$(newpid)
	second=$(newpid)
	[ "${first:-0}" -gt 0 ] && [ "${second:-0}" -gt "$first" ] || wrong "first '$first', then '$second'"
}

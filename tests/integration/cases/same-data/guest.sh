# SPDX-License-Identifier: GPL-2.0-only
# Each write of a login uid takes the next number.
session() { sh -c 'echo 0 >/proc/self/loginuid; cat /proc/self/sessionid'; }

setup() {
	# Far from where any other counter may be.
	session >/dev/null
	session >/dev/null
	last=$(session)
}

next() {
	last=$((last + 1))
	is "$((last + $1))" session
}

before() { next 0; next 0; }

loaded() { next 5000; next 5000; }

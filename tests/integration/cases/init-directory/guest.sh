# SPDX-License-Identifier: GPL-2.0-only
setup() {
	seen=0
}

told() { dmesg | grep -c 'kpatch: initcall loop_init'; }

come_and_go() {
	stock loop
	works rmmod loop
	is "$seen" told
}

before() {
	come_and_go
}

loaded() {
	seen=$((seen + 1))
	come_and_go
}

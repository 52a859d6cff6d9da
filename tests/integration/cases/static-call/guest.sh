# SPDX-License-Identifier: GPL-2.0-only
lines() { dmesg | grep -c 'kpatch: ctr of'; }

# Known answer of SP 800-38A, F.5.1, two blocks.
encrypts() {
	is "874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff" ctraes
}

setup() {
	stock algif_skcipher
	stock aesni-intel
	has ctr-aes-aesni cat /proc/crypto
	seen=$(lines)
}

before() {
	encrypts
	is "$seen" lines
}

loaded() {
	encrypts
	has "kpatch: ctr of 32 bytes" dmesg
	[ "$(lines)" -gt "$seen" ] || wrong "the patched function did not run"
	seen=$(lines)
}

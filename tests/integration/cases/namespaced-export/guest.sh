# SPDX-License-Identifier: GPL-2.0-only
before() {
	lacks dma-buf cat /proc/version
}

loaded() {
	has "dma-buf -9 Linux version" cat /proc/version
}

# SPDX-License-Identifier: GPL-2.0-only
# Pointers that are good, unmapped, the kernel's, and beyond the end of user space: the last are below
# the number that stands in the code until boot code writes the right one.
pointers() {
	is "good: 0 $1" userptr waitid good
	is "unmapped: 14" userptr waitid unmapped
	is "kernel: 14" userptr waitid kernel
	is "beyond: 14" userptr waitid beyond
	is "good: 0" userptr mincore good
	is "unmapped: 12" userptr mincore unmapped
	is "kernel: $2" userptr mincore kernel
	is "beyond: $2" userptr mincore beyond
}

before() { pointers 0 12; }

loaded() { pointers 77 34; }

# SPDX-License-Identifier: GPL-2.0-only
# No such hardware is here: that both modules' functions are redirected is what the kernel says of it.
setup() {
	stock ti_cpsw
}

definitions() { grep -c " $1[[:space:]]\[$2\]$" /proc/kallsyms; }
patched() { cat "/sys/kernel/livepatch/$(name_of main)/$1/patched"; }

before() {
	is 1 definitions cpdma_ctlr_destroy ti_cpsw
}

loaded() {
	is 1 patched ti_cpsw
	is 0 patched ti_davinci_emac
	stock ti_davinci_emac
	is 1 patched ti_davinci_emac
	is 1 definitions cpdma_ctlr_destroy ti_davinci_emac
	# Each has its own, and what is new in it.
	is 2 definitions cpdma_ctlr_destroy "$(name_of main)"
	is 2 definitions kpatch_count "$(name_of main)"
	works rmmod ti_davinci_emac
	is 0 patched ti_davinci_emac
	is 1 patched ti_cpsw
}

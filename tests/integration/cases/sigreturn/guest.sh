# SPDX-License-Identifier: GPL-2.0-only
# The helper moves the FPU state of its signal frame to where the kernel can read the end of it
# only, and returns from the handler: XRSTOR faults, the exception table has the way out.
before() {
	is "returned, state kept" sigframe good
	is "killed by signal 11" sigframe bad
}

# Now it lives on, with a fresh state. The kernel warns the first time, not the second.
loaded() {
	is "returned, state kept" sigframe good
	is "returned, state fresh" sigframe bad
	is "returned, state fresh" sigframe bad
}

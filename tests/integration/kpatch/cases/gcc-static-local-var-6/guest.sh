# SPDX-License-Identifier: GPL-2.0-only
# Nothing in the guest asks for such a route: the patch is loaded and taken back, no more.
before() { :; }
loaded() { :; }

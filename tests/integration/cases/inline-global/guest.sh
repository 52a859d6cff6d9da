# SPDX-License-Identifier: GPL-2.0-only
# 22 is EINVAL, 34 is ERANGE. io_uring's call goes the other file's way.
before() {
	is "open 22" opendir open
	is "io_uring 22" opendir io_uring
}
loaded() {
	is "open 34" opendir open
	is "io_uring 34" opendir io_uring
}

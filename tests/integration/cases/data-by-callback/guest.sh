# SPDX-License-Identifier: GPL-2.0-only
before() { is 65536 cat /proc/sys/fs/aio-max-nr; }
loaded() { is 131072 cat /proc/sys/fs/aio-max-nr; }

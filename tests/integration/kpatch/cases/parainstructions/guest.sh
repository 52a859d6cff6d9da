# SPDX-License-Identifier: GPL-2.0-only
before() { lacks kpatch cat /proc/uptime; }
loaded() { has "kpatch 1 0 " cat /proc/uptime; }

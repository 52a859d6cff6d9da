# SPDX-License-Identifier: GPL-2.0-only
before() { has console=ttyS0 cat /proc/cmdline; }

loaded() { is "this has been live patched" cat /proc/cmdline; }

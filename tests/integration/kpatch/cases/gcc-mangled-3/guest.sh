# SPDX-License-Identifier: GPL-2.0-only
before() { is 255 stat -f -c %l /proc; }
loaded() { is 77 stat -f -c %l /proc; }

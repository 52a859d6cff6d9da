# SPDX-License-Identifier: GPL-2.0-only
# The load of the last minute, in whole tasks, and the reader's own time, in seconds.
load() { cut -d. -f1 /proc/loadavg; }
spent() { awk '{ print int($14 / 100) }' /proc/self/stat; }
less() { [ "$($1)" -lt "$2" ]; }

before() {
	works less load 700
	works less spent 1000
}

loaded() {
	fails less load 770
	works less load 1000
	fails less spent 5000
	works less spent 6000
}

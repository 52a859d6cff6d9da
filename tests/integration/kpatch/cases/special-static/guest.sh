# SPDX-License-Identifier: GPL-2.0-only
# A shell sets its own, and what it starts takes that over.
child() { sh -c 'echo 777 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj; :'; }

before() { is 777 child; }
loaded() { is 778 child; }

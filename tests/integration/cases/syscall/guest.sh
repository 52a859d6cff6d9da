# SPDX-License-Identifier: GPL-2.0-only
before() { is Linux uname -s; }

kpatch() {
	klp_load kpatch
	is Linux-kpatch uname -s
}

disabled() {
	klp_disable kpatch
	before
	klp_unload kpatch
}

klp() {
	klp_load klp
	is Linux-klp uname -s
}

unloaded() {
	klp_disable klp
	before
	klp_unload klp
	before
}

run() {
	for name in before kpatch disabled klp unloaded; do
		step $name $name
	done
}

# SPDX-License-Identifier: GPL-2.0-only
# Names for the scripts; each of them also runs by itself, from any directory.
#
# KPATCH_CACHE      where kernels and prepared object directories go (~/.cache/kpatch)
# CARGO_TARGET_DIR  where cargo builds (target)

.PHONY: help setup fetch-kernel kernels demo example test test-all bench self-diff

help:
	@echo 'make demo          from a patch to a live-patched stock kernel in QEMU'
	@echo 'make example       a livepatch written in Rust, likewise (EXAMPLE=sample, callbacks or shadow)'
	@echo 'make test          all tests: format, lints, unit tests, tests in QEMU'
	@echo 'make test-all      the same, on another built kernel and for the kernel of real changes, too'
	@echo 'make bench         how long the differ, the image and patches take, by phase and against gcc'
	@echo 'make self-diff     500 objects of the kernel against themselves, with all lines moved'
	@echo 'make setup         install what is missing (apt; needs root or sudo)'
	@echo 'make fetch-kernel  unpack a stock Debian kernel into the cache'
	@echo 'make kernels       the same for all kernels of the tests; one is built, which takes minutes'

setup:
	@scripts/setup.sh

fetch-kernel: setup
	@scripts/fetch-kernel.sh

kernels: fetch-kernel
	@scripts/fetch-kernel.sh --series 6.1 --if-offered
	@scripts/build-kernel.sh

demo:
	@scripts/demo.sh

EXAMPLE ?= sample
example:
	@scripts/example.sh $(EXAMPLE)

test:
	@scripts/test.sh

test-all:
	@scripts/test.sh --all

bench: fetch-kernel
	@scripts/bench-differ.sh
	@scripts/bench-image.sh
	@scripts/bench.sh
	@scripts/bench-built.sh

self-diff: fetch-kernel
	@scripts/self-diff.sh

//! What a distribution ships of a kernel: image, kallsyms, modules, exports, configuration.

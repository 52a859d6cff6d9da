//! Object model of relocatable ELF files that the differ and the converter share.

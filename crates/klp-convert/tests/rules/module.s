# An intermediate module by hand: what kbuild, objtool and modpost leave of a patch to vmlinux and
# to module nf_tables. Tests change single lines of it.
    .section .modinfo,"a",@progbits
    .asciz "livepatch=Y"
    .asciz "license=GPL"
    .asciz "name=probe"
    .asciz "vermagic=6.12.1-test SMP preempt mod_unload modversions "
    .asciz "depends="

# What modpost makes of the CRCs of exports: 64 bytes each.
    .macro version crc, name
    .quad \crc
9:  .asciz "\name"
    .skip 56 - (. - 9b)
    .endm
    .section __versions,"a",@progbits
    version 0x11111111, module_layout
    version 0x22222222, seq_puts
    version 0x33333333, __fentry__
    version 0x44444444, __x86_return_thunk

    .section .gnu.linkonce.this_module,"aw",@progbits
    .skip 24
    .asciz "probe"
    .skip 274
    .quad init_module
    .skip 400
    .quad cleanup_module

    .weak ph_saved, ph_again, ph_key, ph_hook, make_task_dead
    .text
# Patched, with call padding in front.
    .skip 16, 0x90
    .globl new_show
    .type new_show, @function
new_show:
    endbr64
fentry_new_show:
    call __fentry__
    movq ph_saved(%rip), %rdi
call_puts:
    call seq_puts
branch_site:
    .byte 0x66, 0x90
alternative_site:
    lfence
    movq ph_again(%rip), %rdi
call_hook:
    call ph_hook
    leaq helper(%rip), %rsi
call_dead:
    call make_task_dead
branch_target:
return_show:
    jmp __x86_return_thunk
    .size new_show, . - new_show

# Static and patched: no ENDBR64, reached from ftrace by a return.
    .skip 16, 0x90
    .type new_static, @function
new_static:
    xorl %eax, %eax
return_static:
    jmp __x86_return_thunk
    .size new_static, . - new_static

# Its address is taken by new_show and by data.
    .skip 16, 0x90
    .type helper, @function
helper:
    endbr64
return_helper:
    jmp __x86_return_thunk
    .size helper, . - helper

# Nobody takes its address: sealed.
    .skip 16, 0x90
    .globl lonely
    .type lonely, @function
lonely:
    endbr64
return_lonely:
    jmp __x86_return_thunk
    .size lonely, . - lonely
text_end:

    .section .init.text,"ax",@progbits
    .globl init_module
    .type init_module, @function
init_module:
    endbr64
    nop
return_init:
    jmp __x86_return_thunk
    .size init_module, . - init_module

    .section .exit.text,"ax",@progbits
    .globl cleanup_module
    .type cleanup_module, @function
cleanup_module:
    endbr64
return_exit:
    jmp __x86_return_thunk
    .size cleanup_module, . - cleanup_module

    .section .altinstr_replacement,"ax",@progbits
replacement:
    mfence

    .data
    .balign 8
operations:
    .quad helper
    .quad ph_hook
    .size operations, . - operations

    .section .altinstructions,"a",@progbits
    .long alternative_site - ., replacement - .
    .long 7
    .byte 3, 3

    .section __jump_table,"aw",@progbits
    .long branch_site - ., branch_target - .
    .quad ph_key + 2 - .

    .section __mcount_loc,"a",@progbits
    .quad fentry_new_show

    .section .return_sites,"a",@progbits
    .long return_show - .
    .long return_static - .
    .long return_helper - .
    .long return_lonely - .
    .long return_init - .
    .long return_exit - .

    .section .call_sites,"a",@progbits
    .long call_puts - .
    .long call_hook - .
    .long call_dead - .

    .section .ibt_endbr_seal,"a",@progbits
    .long lonely - .

    .section .orc_unwind_ip,"a",@progbits
    .long .text - .
    .long text_end - .
    .long .init.text - .
    .long .exit.text - .
    .section .orc_unwind,"a",@progbits
    .byte 8, 0, 0, 0, 5, 2
    .byte 0, 0, 0, 0, 0, 0
    .byte 8, 0, 0, 0, 5, 2
    .byte 8, 0, 0, 0, 5, 2

    .section .kpatch.strings,"a",@progbits
old_show: .asciz "cmdline_proc_show"
old_static: .asciz "nft_old"
patched_module: .asciz "nf_tables"
    .section .kpatch.funcs,"a",@progbits
    .quad new_show, old_show, 0, 0
    .quad new_static, old_static, patched_module, 1

    .section .kpatch.placeholder_strings,"a",@progbits
vmlinux: .asciz "vmlinux"
applied: .asciz "nf_tables"
saved: .asciz ".klp.sym.vmlinux.saved_command_line,0"
key: .asciz ".klp.sym.vmlinux.sched_schedstats,2"
dead: .asciz ".klp.sym.vmlinux.make_task_dead,0"
hook: .asciz ".klp.sym.nf_tables.nft_hook.isra.0,3"
    .section .kpatch.placeholders,"a",@progbits
    .quad ph_saved, vmlinux, saved
    .quad ph_again, vmlinux, saved
    .quad ph_saved, vmlinux, saved
    .quad ph_key, vmlinux, key
    .quad make_task_dead, vmlinux, dead
    .quad ph_hook, applied, hook

    .section .debug_info,"",@progbits
    .quad ph_again
    .quad vmlinux
    .quad new_show

    .type ph_again, @object

/* Startup code: set the stack pointer and call main. QEMU begins here, in machine mode. */
    .section .vectors, "ax"
    .globl _start
_start:
    la sp, stack_top
    call main
1:  j 1b

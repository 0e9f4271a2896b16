/* Semihosting: a program on an emulated device reads and writes files of the machine that runs the
 * emulator. Source: Arm, "Semihosting for AArch32 and AArch64". RISC-V uses the same operation
 * numbers. */

#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

enum { SYS_OPEN = 0x01, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT = 0x18 };
enum { OPEN_READ = 1, OPEN_WRITE = 5 };           /* "rb" and "wb" of fopen */
enum { STOPPED_APPLICATION_EXIT = 0x20026 };

/* Call an operation of the emulator and return its result. */
static inline intptr_t semihosting(intptr_t operation, const void *argument)
{
#if defined(__arm__)
    register intptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
#elif defined(__riscv)
    register intptr_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;

    /* These three instructions must be uncompressed and in one memory page. */
    __asm__ volatile(".balign 16\n"
                     ".option push\n"
                     ".option norvc\n"
                     "slli zero, zero, 0x1f\n"
                     "ebreak\n"
                     "srai zero, zero, 0x7\n"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
#endif
}

/* Print a text without a newline. */
static inline void print(const char *text)
{
    semihosting(SYS_WRITE0, text);
}

/* Print a line: the name, a space and the value. */
static inline void print_number(const char *name, uint32_t value)
{
    char digits[12];
    char *first = digits + sizeof digits - 1;

    *first = '\0';
    do {
        *--first = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    print(name);
    print(" ");
    print(first);
    print("\n");
}

/* Return a file handle, or -1 if the file cannot be opened. */
static inline intptr_t open_file(const char *name, intptr_t mode)
{
    const char *end = name;

    while (*end) {
        end++;
    }
    return semihosting(SYS_OPEN, (intptr_t[]){(intptr_t)name, mode, end - name});
}

/* Return whether all bytes were read. */
static inline int read_file(intptr_t file, void *data, intptr_t size)
{
    return semihosting(SYS_READ, (intptr_t[]){file, (intptr_t)data, size}) == 0;
}

static inline void write_file(intptr_t file, const void *data, intptr_t size)
{
    semihosting(SYS_WRITE, (intptr_t[]){file, (intptr_t)data, size});
}

#endif

/* Count instructions with a hardware clock. QEMU with -icount advances this clock by a fixed time
 * at each instruction. main.c uses these functions. */

#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

#define LOOP_INSTRUCTIONS 2000000u /* of clock_loop, by which ticks are converted to instructions */

#if defined(__arm__)

#define SYSTICK ((volatile uint32_t *)0xE000E010) /* registers: control, reload, current */

/* Start the timer SysTick, which counts down from 0xFFFFFF and then starts again. */
static inline void clock_start(void)
{
    SYSTICK[1] = 0xFFFFFF;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5; /* enable the timer, clocked by the processor */
}

/* Return the ticks since the last start at 0. */
static inline uint32_t clock_ticks(void)
{
    return 0xFFFFFF - SYSTICK[2];
}

/* Return the number of ticks between two readings; it must be less than 2^24. */
static inline uint32_t clock_between(uint32_t start, uint32_t end)
{
    return (end - start) & 0xFFFFFF;
}

/* Execute LOOP_INSTRUCTIONS instructions. */
static inline void clock_loop(void)
{
    uint32_t count = LOOP_INSTRUCTIONS / 2;

    __asm__ volatile(".syntax unified\n1: subs %0, #1\n bne 1b" : "+l"(count) : : "cc");
}

#elif defined(__riscv)

static inline void clock_start(void)
{
}

static inline uint32_t clock_ticks(void)
{
    uint32_t cycles;

    __asm__ volatile("csrr %0, mcycle" : "=r"(cycles));
    return cycles;
}

static inline uint32_t clock_between(uint32_t start, uint32_t end)
{
    return end - start;
}

static inline void clock_loop(void)
{
    uint32_t count = LOOP_INSTRUCTIONS / 2;

    __asm__ volatile("1: addi %0, %0, -1\n bnez %0, 1b" : "+r"(count));
}

#endif
#endif

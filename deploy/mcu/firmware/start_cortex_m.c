/* Vector table of a Cortex-M, and the reset handler, which calls main. Variables without an initial
 * value need no clearing, because QEMU's memory is 0. */

#include <stdint.h>

int main(void);
extern uint32_t stack_top;

static void reset(void)
{
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* register CPACR: turn the FPU on */
    __asm__ volatile("dsb\nisb");
#endif
    main();
    for (;;) {
    }
}

/* Handle every exception by an endless loop. */
static void stop(void)
{
    for (;;) {
    }
}

struct vectors {
    uint32_t *stack;
    void (*handlers[15])(void);
};

__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    &stack_top,
    {reset, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop, stop},
};

/* The vector table of a Cortex-M. QEMU loads the program into memory that is zero. */

#include <stdint.h>

int main(void);
extern uint32_t stack_top;

static void reset(void)
{
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: turn the FPU on */
    __asm__ volatile("dsb\nisb");
#endif
    main();
    for (;;) {
    }
}

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

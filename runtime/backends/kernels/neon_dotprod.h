/* 64-bit Arm with dot products (Raspberry Pi 5): 4 channels a register, 4 signed bytes a
 * multiplication (sdot). */

#include <arm_neon.h>
#include <sys/auxv.h>

#define NAME_OF(name) neon_dotprod_##name
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#define VECTOR int32x4_t
#define VALUES int8x16_t
#define WEIGHTS int8x16_t
#define LANES 4
#define BLOCKS 4 /* 4 x 4 registers of sums; 32 registers exist */
#define LOAD(address) vld1q_s32(address)
#define LOAD_WEIGHTS(address) vld1q_s8((const int8_t *)(address))
#define LOAD_FOUR_BLOCKS(weights, address) neon_load_four(weights, address)
#define REPEAT(address, at) neon_dotprod_load_word((address) + (at))
#define DOT(sums, values, weights) neon_dotprod_dot_four(sums, values, 0, weights)
#define LOAD_FOUR(address) vld1q_s8((const int8_t *)(address))
#define DOT_FOUR(sums, four, word, weights) neon_dotprod_dot_four(sums, four, word, weights)
#define LARGER(a, b) vmaxq_s32(a, b)
#define STORE(matrix, block, sums, bytes) neon_store(matrix, block, sums, bytes)
#define STORE_FOUR(matrix, block, sums, bytes) neon_store_four(matrix, block, sums, bytes)

/* Read four bytes; a multiplication repeats them. Assembly, because GCC 12 would clear the rest of
 * the register first. */
TARGET static ALWAYS_INLINE VALUES neon_dotprod_load_word(const char *address)
{
    VALUES word;

    __asm__("ldr %s0, %1" : "=w"(word) : "m"(*(const char(*)[4])address));
    return word;
}

/* `word` is a constant: 0 to 3. */
TARGET static ALWAYS_INLINE VECTOR neon_dotprod_dot_four(VECTOR sums, VALUES four, int word,
                                                         WEIGHTS weights)
{
    switch (word) {
    case 0:
        __asm__("sdot %0.4s, %1.16b, %2.4b[0]" : "+w"(sums) : "w"(weights), "w"(four));
        break;
    case 1:
        __asm__("sdot %0.4s, %1.16b, %2.4b[1]" : "+w"(sums) : "w"(weights), "w"(four));
        break;
    case 2:
        __asm__("sdot %0.4s, %1.16b, %2.4b[2]" : "+w"(sums) : "w"(weights), "w"(four));
        break;
    default:
        __asm__("sdot %0.4s, %1.16b, %2.4b[3]" : "+w"(sums) : "w"(weights), "w"(four));
        break;
    }
    return sums;
}

#include "pixel.h"
#undef NAME_OF

static int supports_dotprod(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}

static const struct instructions neon_dotprod = {"neon-dotprod", 4, 4, SIGNED_BYTES,
                                                 neon_dotprod_row};

/* 32-bit Arm from ARMv6 on (Raspberry Pi 1, Zero and Zero W): one channel a register, two products
 * of 16 bits an instruction (smlad). */

#include <string.h>
#include <sys/auxv.h>

#define NAME_OF(name) smlad_##name
#define TARGET __attribute__((target("arch=armv6")))
#define VECTOR int32_t
#define VALUES int32_t
#define WEIGHTS int32_t
#define LANES 1
#define BLOCKS 1 /* 4 x 1 registers of sums; 14 registers are free */
#define LOAD(address) (*(address))
#define LOAD_WEIGHTS(address) smlad_load(address)
#define REPEAT(address, at) smlad_load((address) + (at))
#define DOT(sums, values, weights) smlad_dot(sums, values, weights)
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define STORE(matrix, block, sums, bytes) (*(bytes) = requantize((matrix)->rule, block, sums))

TARGET static ALWAYS_INLINE int32_t smlad_load(const char *address)
{
    int32_t pair;

    memcpy(&pair, address, sizeof pair);
    return pair;
}

TARGET static ALWAYS_INLINE int32_t smlad_dot(int32_t sum, int32_t values, int32_t weights)
{
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(values), "r"(weights));
    return sum;
}

#include "pixel.h"
#undef NAME_OF

/* The kernel names the architecture as in "v6l". */
static int supports_smlad(void)
{
    const char *platform = (const char *)getauxval(AT_PLATFORM);

    return platform != NULL && platform[0] == 'v' && platform[1] >= '6' && platform[1] <= '9';
}

static const struct instructions smlad = {"smlad", 1, 1, WORDS_OF_16_BITS, smlad_row};

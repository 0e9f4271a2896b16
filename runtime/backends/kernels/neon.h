/* 64-bit Arm without dot products (Raspberry Pi 3 and 4): 4 channels a register. Two products of
 * signed bytes are added in 16 bits, which is exact for weights of at least -127, and then to the
 * sum of 32 bits. */

#include <arm_neon.h>

#define NAME_OF(name) neon_##name
#define TARGET
#define VECTOR int32x4_t
#define VALUES int8x16x2_t
#define WEIGHTS int8x16_t
#define LANES 4
#define BLOCKS 4 /* 4 x 4 registers of sums; 32 registers exist */
#define LOAD(address) vld1q_s32(address)
#define LOAD_WEIGHTS(address) vld1q_s8((const int8_t *)(address))
#define REPEAT(address, at) neon_repeat(&(address))
#define DOT(sums, values, weights) neon_dot(sums, values, weights)
#define LARGER(a, b) vmaxq_s32(a, b)
#define ADD(a, b) vaddq_s32(a, b)
#define ZERO vdupq_n_s32(0)
#define STORE(matrix, block, sums, bytes) neon_store(matrix, block, sums, bytes)

/* Read two pairs of values, each into all 16-bit lanes, and add 4 to the address. Assembly, because
 * GCC 12 reads each pair with two instructions. */
static ALWAYS_INLINE VALUES neon_repeat(const char **address)
{
    VALUES pairs;

    __asm__("ld1r {%0.8h}, [%2], #2\n\tld1r {%1.8h}, [%2], #2"
            : "=w"(pairs.val[0]), "=&w"(pairs.val[1]), "+r"(*address)
            :
            : "memory");
    return pairs;
}

static ALWAYS_INLINE VECTOR neon_dot(VECTOR sums, VALUES values, WEIGHTS weights)
{
    int16x8_t products = vmull_s8(vget_low_s8(values.val[0]), vget_low_s8(weights));

    return vpadalq_s16(sums, vmlal_high_s8(products, values.val[1], weights));
}

/* Requantize as `multiply_by_scale` does: three roundings to the nearest even number. */
static ALWAYS_INLINE void neon_store(const struct matrix *matrix, int block, VECTOR sums,
                                     uint8_t *bytes)
{
    const float32x4_t limit = vdupq_n_f32(65535.0f);
    float32x4_t product = vmulq_f32(vcvtq_f32_s32(sums), vld1q_f32(matrix->scales + block * LANES));
    VECTOR codes;
    uint8x8_t narrow;

    product = vmaxq_f32(vminq_f32(product, limit), vnegq_f32(limit));
    codes = vaddq_s32(vcvtnq_s32_f32(product), vdupq_n_s32(matrix->rule->zero));
    codes = vmaxq_s32(codes, vdupq_n_s32(matrix->rule->least));
    codes = vminq_s32(codes, vdupq_n_s32(matrix->rule->most));
    narrow = vreinterpret_u8_u16(vmovn_u32(vreinterpretq_u32_s32(codes)));
    vst1_lane_u32((uint32_t *)bytes, vreinterpret_u32_u8(vuzp1_u8(narrow, narrow)), 0);
}

#include "pixel.h"
#undef NAME_OF

static const struct instructions neon = {"neon", 4, SIGNED_PAIRS, neon_pixel};

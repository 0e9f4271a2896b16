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
#define LOAD_FOUR_BLOCKS(weights, address) neon_load_four(weights, address)
#define REPEAT(address, at) neon_repeat(&(address))
#define DOT(sums, values, weights) neon_dot(sums, values, weights)
#define DOT_FOUR_BLOCKS(sums, values, weights) neon_dot_four_blocks(sums, values, weights)
#define LARGER(a, b) vmaxq_s32(a, b)
#define STORE(matrix, block, sums, bytes) neon_store(matrix, block, sums, bytes)
#define STORE_FOUR(matrix, block, sums, bytes) neon_store_four(matrix, block, sums, bytes)

/* Read four registers with one instruction. */
static ALWAYS_INLINE void neon_load_four(WEIGHTS *registers, const char *address)
{
    const int8x16x4_t four = vld1q_s8_x4((const int8_t *)address);

    registers[0] = four.val[0];
    registers[1] = four.val[1];
    registers[2] = four.val[2];
    registers[3] = four.val[3];
}

/* Read two pairs of values, each into all 16-bit lanes, and add 4 to the address. Assembly, because
 * GCC 12 reads each pair with two instructions. */
static ALWAYS_INLINE VALUES neon_repeat(const char **address)
{
    VALUES pairs;

    __asm__("ld1r {%0.8h}, [%2], #2\n\tld1r {%1.8h}, [%2], #2"
            : "=w"(pairs.val[0]), "=&w"(pairs.val[1]), "+r"(*address)
            : "m"(*(const char(*)[4])*address));
    return pairs;
}

static ALWAYS_INLINE VECTOR neon_dot(VECTOR sums, VALUES values, WEIGHTS weights)
{
    int16x8_t products = vmull_s8(vget_low_s8(values.val[0]), vget_low_s8(weights));

    return vpadalq_s16(sums, vmlal_high_s8(products, values.val[1], weights));
}

/* The same for four blocks. Assembly, because GCC 12 computes the products of several positions ahead
 * and then lacks registers for the sums. Neighboring instructions do not wait for each other. */
static ALWAYS_INLINE void neon_dot_four_blocks(VECTOR *sums, VALUES values, const WEIGHTS *weights)
{
    int16x8_t a, b, c, d;

    __asm__("smull %4.8h, %8.8b, %10.8b\n\tsmull %5.8h, %8.8b, %11.8b\n\t"
            "smull %6.8h, %8.8b, %12.8b\n\tsmull %7.8h, %8.8b, %13.8b\n\t"
            "smlal2 %4.8h, %9.16b, %10.16b\n\tsmlal2 %5.8h, %9.16b, %11.16b\n\t"
            "smlal2 %6.8h, %9.16b, %12.16b\n\tsmlal2 %7.8h, %9.16b, %13.16b\n\t"
            "sadalp %0.4s, %4.8h\n\tsadalp %1.4s, %5.8h\n\t"
            "sadalp %2.4s, %6.8h\n\tsadalp %3.4s, %7.8h"
            : "+w"(sums[0]), "+w"(sums[1]), "+w"(sums[2]), "+w"(sums[3]), "=&w"(a), "=&w"(b),
              "=&w"(c), "=&w"(d)
            : "w"(values.val[0]), "w"(values.val[1]), "w"(weights[0]), "w"(weights[1]),
              "w"(weights[2]), "w"(weights[3]));
}

/* Requantize as `multiply_by_scale` does: three roundings to the nearest even number. */
static ALWAYS_INLINE void neon_store(const struct matrix *matrix, int block, VECTOR sums,
                                     uint8_t *bytes)
{
    float32x4_t product = vmulq_f32(vcvtq_f32_s32(sums), vld1q_f32(matrix->scales + block * LANES));
    VECTOR codes;
    uint8x8_t narrow;

    product = vmaxq_f32(product, vdupq_n_f32(matrix->least));
    product = vminq_f32(product, vdupq_n_f32(matrix->most));
    codes = vaddq_s32(vcvtnq_s32_f32(product), vdupq_n_s32(matrix->zero));
    narrow = vreinterpret_u8_u16(vmovn_u32(vreinterpretq_u32_s32(codes)));
    vst1_lane_u32((uint32_t *)bytes, vreinterpret_u32_u8(vuzp1_u8(narrow, narrow)), 0);
}

/* The same for four blocks. Saturation limits the codes to those of a byte. */
static ALWAYS_INLINE void neon_store_four(const struct matrix *matrix, int block,
                                          const VECTOR *sums, uint8_t *bytes)
{
    const float *scales = matrix->scales + block * LANES;
    const int16x8_t zero = vdupq_n_s16(matrix->zero);
    int16x4_t narrow[4];
    int16x8_t low, high;
    uint8x16_t codes;
    int b;

#pragma GCC unroll 4
    for (b = 0; b < 4; b++) {
        const float32x4_t scale = vld1q_f32(scales + b * LANES);

        narrow[b] = vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums[b]), scale)));
    }
    low = vqaddq_s16(vcombine_s16(narrow[0], narrow[1]), zero);
    high = vqaddq_s16(vcombine_s16(narrow[2], narrow[3]), zero);
    codes = vqmovun_high_s16(vqmovun_s16(low), high);
    codes = vmaxq_u8(codes, vdupq_n_u8(matrix->least + matrix->zero));
    codes = vminq_u8(codes, vdupq_n_u8(matrix->most + matrix->zero));
    vst1q_u8(bytes, codes);
}

#include "pixel.h"
#undef NAME_OF

static const struct instructions neon = {"neon", 4, 4, SIGNED_PAIRS, neon_row};

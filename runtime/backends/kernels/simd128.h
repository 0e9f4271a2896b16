/* WebAssembly with 128-bit vectors: 4 channels a register, 2 values of 16 bits a multiplication
 * (i32x4.dot_i16x8_s). */

#include <wasm_simd128.h>

#define NAME_OF(name) simd128_##name
#define TARGET
#define VECTOR v128_t
#define VALUES VECTOR
#define WEIGHTS VECTOR
#define LANES 4
#define BLOCKS 4 /* 4 x 4 registers of sums; faster than 2 blocks even with 16 registers */
#define LOAD(address) wasm_v128_load(address)
#define LOAD_WEIGHTS(address) LOAD(address)
#define REPEAT(address, at) wasm_v128_load32_splat((address) + (at))
#define DOT(sums, values, weights) wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(values, weights))
#define LARGER(a, b) wasm_i32x4_max(a, b)
#define STORE(matrix, block, sums, bytes) simd128_store(matrix, block, sums, bytes)

/* Requantize as `multiply_by_scale` does: three roundings to the nearest even number. */
static ALWAYS_INLINE void simd128_store(const struct matrix *matrix, int block, VECTOR sums,
                                        uint8_t *bytes)
{
    VECTOR product = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sums),
                                    LOAD(matrix->scales + block * LANES));
    VECTOR codes;

    product = wasm_f32x4_max(product, wasm_f32x4_splat(matrix->least));
    product = wasm_f32x4_min(product, wasm_f32x4_splat(matrix->most));
    codes = wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(product)),
                           wasm_i32x4_splat(matrix->zero));
    codes = wasm_u8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(codes, codes), codes);
    wasm_v128_store32_lane(bytes, codes, 0);
}

#include "pixel.h"
#undef NAME_OF

static const struct instructions simd128 = {"simd128", 4, 4, WORDS_OF_16_BITS, simd128_row};

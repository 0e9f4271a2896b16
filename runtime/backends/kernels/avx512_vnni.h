/* x86 with AVX-512 VNNI: 16 channels a register, 4 bytes a multiplication (vpdpbusd). */

#include <immintrin.h>

#define NAME_OF(name) avx512_vnni_##name
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define VECTOR __m512i
#define VALUES VECTOR
#define WEIGHTS VECTOR
#define LANES 16
#define BLOCKS 4 /* 4 x 4 registers of sums; 32 registers exist */
#define LOAD(address) _mm512_loadu_si512(address)
#define LOAD_WEIGHTS(address) LOAD(address)
#define REPEAT(address, at) avx512_vnni_repeat((address) + (at))
#define DOT(sums, values, weights) avx512_vnni_dot(sums, values, weights)
#define LARGER(a, b) _mm512_max_epi32(a, b)
#define STORE(matrix, block, sums, bytes) avx512_vnni_store(matrix, block, sums, bytes)

TARGET static ALWAYS_INLINE VECTOR avx512_vnni_repeat(const char *address)
{
    int32_t word;

    memcpy(&word, address, sizeof word);
    return _mm512_set1_epi32(word);
}

/* Assembly, because GCC 12 copies the sums around the intrinsic and spills them. */
TARGET static ALWAYS_INLINE VECTOR avx512_vnni_dot(VECTOR sums, VECTOR values, VECTOR weights)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(values), "v"(weights));
    return sums;
}

/* Requantize as `multiply_by_scale` does: three roundings to the nearest even number. */
TARGET static ALWAYS_INLINE void avx512_vnni_store(const struct matrix *matrix, int block,
                                                   VECTOR sums, uint8_t *bytes)
{
    __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums),
                                   _mm512_loadu_ps(matrix->scales + block * LANES));
    VECTOR codes;

    product = _mm512_max_ps(product, _mm512_set1_ps(matrix->least));
    product = _mm512_min_ps(product, _mm512_set1_ps(matrix->most));
    codes = _mm512_add_epi32(_mm512_cvtps_epi32(product), _mm512_set1_epi32(matrix->zero));
    _mm_storeu_si128((__m128i *)bytes, _mm512_cvtepi32_epi8(codes));
}

#include "pixel.h"
#undef NAME_OF

static const struct instructions avx512_vnni = {"avx512-vnni", 16, 4, UNSIGNED_BYTES,
                                                avx512_vnni_row};

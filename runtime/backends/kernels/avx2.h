/* x86 with AVX2: 8 channels a register, 2 values of 16 bits a multiplication (vpmaddwd). The
 * multiplication of bytes, vpmaddubsw, is not exact: it saturates at 16 bits. */

#include <immintrin.h>

#define NAME_OF(name) avx2_##name
#define TARGET __attribute__((target("avx2")))
#define VECTOR __m256i
#define VALUES VECTOR
#define WEIGHTS VECTOR
#define LANES 8
#define BLOCKS 2 /* 4 x 2 registers of sums; 16 registers exist */
#define LOAD(address) _mm256_loadu_si256((const __m256i *)(address))
#define LOAD_WEIGHTS(address) LOAD(address)
#define REPEAT(address, at) avx2_repeat((address) + (at))
#define DOT(sums, values, weights) _mm256_add_epi32(sums, _mm256_madd_epi16(values, weights))
#define LARGER(a, b) _mm256_max_epi32(a, b)
#define STORE(matrix, block, sums, bytes) avx2_store(matrix, block, sums, bytes)

TARGET static ALWAYS_INLINE VECTOR avx2_repeat(const char *address)
{
    int32_t word;

    memcpy(&word, address, sizeof word);
    return _mm256_set1_epi32(word);
}

/* Requantize as `multiply_by_scale` does: three roundings to the nearest even number. */
TARGET static ALWAYS_INLINE void avx2_store(const struct matrix *matrix, int block, VECTOR sums,
                                            uint8_t *bytes)
{
    __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums),
                                   _mm256_loadu_ps(matrix->scales + block * LANES));
    VECTOR codes;
    __m128i words;

    product = _mm256_max_ps(product, _mm256_set1_ps(matrix->least));
    product = _mm256_min_ps(product, _mm256_set1_ps(matrix->most));
    codes = _mm256_add_epi32(_mm256_cvtps_epi32(product), _mm256_set1_epi32(matrix->zero));
    words = _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storel_epi64((__m128i *)bytes, _mm_packus_epi16(words, words));
}

#include "pixel.h"
#undef NAME_OF

static const struct instructions avx2 = {"avx2", 8, 2, WORDS_OF_16_BITS, avx2_row};

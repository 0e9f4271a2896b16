/* x86 with AVX-VNNI but without AVX-512: 8 channels a register, 4 bytes a multiplication. */

#include <cpuid.h>
#include <immintrin.h>

#define NAME_OF(name) avx_vnni_##name
#define TARGET __attribute__((target("avx2")))
#define VECTOR __m256i
#define VALUES VECTOR
#define WEIGHTS VECTOR
#define LANES 8
#define BLOCKS 2 /* 4 x 2 registers of sums; 16 registers exist */
#define LOAD(address) _mm256_loadu_si256((const __m256i *)(address))
#define LOAD_WEIGHTS(address) LOAD(address)
#define REPEAT(address, at) avx2_repeat((address) + (at))
#define DOT(sums, values, weights) avx_vnni_dot(sums, values, weights)
#define LARGER(a, b) _mm256_max_epi32(a, b)
#define STORE(matrix, block, sums, bytes) avx2_store(matrix, block, sums, bytes)

/* Assembly, because compilers before GCC 11 do not know the instruction's VEX form. */
TARGET static ALWAYS_INLINE VECTOR avx_vnni_dot(VECTOR sums, VECTOR values, VECTOR weights)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(values), "x"(weights));
    return sums;
}

#include "pixel.h"
#undef NAME_OF

/* CPUID leaf 7, subleaf 1: bit 4 of EAX. `__builtin_cpu_supports` of GCC 12 lacks the name. */
static int supports_avx_vnni(void)
{
    unsigned a, b, c, d;

    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1 << 4);
}

static const struct instructions avx_vnni = {"avx-vnni", 8, 2, UNSIGNED_BYTES, avx_vnni_row};

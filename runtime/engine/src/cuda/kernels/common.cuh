// What the kernels share: the arithmetic of the CPU engine, operation by operation.
//
// The order of additions is that of src/math.rs, products are rounded before they are added (NVRTC is told
// --fmad=false, and division and square root are IEEE's), and exp is libm's. Then a GPU gives the bits that the CPU
// engine gives, and tokens do not depend on where, or beside what, they are computed. What stays free is who computes
// which number. Every kernel is written for one thread of one number (or of one sum), barriers are reached by all
// threads of a block, and nothing is exchanged between the threads of a warp but through shared memory: so the same
// source runs on a CPU, one fiber a thread (tests/cuda/standin).

extern __shared__ float shared_memory[];

typedef unsigned int u32;
typedef unsigned long long u64;

// A slot that is not written to, a token that could not be chosen.
#define NONE 0xffffffffu

// The dot product of two rows: eight sums of every eighth element, added in a tree.
static __device__ float dot(const float *a, const float *b, u32 count) {
    float sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    u32 whole = count & ~7u;
    for (u32 i = 0; i < whole; i += 8) {
#pragma unroll
        for (u32 lane = 0; lane < 8; lane++) sums[lane] += a[i + lane] * b[i + lane];
    }
#pragma unroll
    for (u32 lane = 0; lane < 8; lane++) {
        if (whole + lane < count) sums[lane] += a[whole + lane] * b[whole + lane];
    }
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

// A power of two, for exponents of normal numbers.
static __device__ float power_of_two(int exponent) { return __uint_as_float((u32)(exponent + 127) << 23); }

// The exponential with libm's bits: the algorithm and the constants of FreeBSD's e_expf.c, on which Rust's libm stands
// ("Copyright (C) 1993 by Sun Microsystems, Inc. Permission to use, copy, modify, and distribute this software is
// freely granted, provided that this notice is preserved"). x = k ln2 + r, then a rational function of r.
static __device__ float exact_exp(float x) {
    u32 size = __float_as_uint(x) & 0x7fffffffu;
    bool negative = __float_as_uint(x) >> 31;
    if (size > 0x7f800000u) return x;
    if (size >= 0x42b17218u && !negative) return x * power_of_two(127);
    if (size >= 0x42cff1b5u && negative) return 0.0f;
    int k = 0;
    float high = x, low = 0.0f;
    if (size > 0x3eb17218u) {
        if (size > 0x3f851592u) {
            k = (int)(1.4426950216e+00f * x + (negative ? -0.5f : 0.5f));
        } else {
            k = negative ? -1 : 1;
        }
        high = x - (float)k * 6.9314575195e-01f;
        low = (float)k * 1.4286067653e-06f;
        x = high - low;
    } else if (size <= 0x39000000u) {
        return 1.0f + x;
    }
    float square = x * x;
    float c = x - square * (1.6666625440e-1f + square * -2.7667332906e-3f);
    float y = 1.0f + (x * c / (2.0f - c) - low + high);
    // Scaling is exact, but into the smallest numbers, where it must round once.
    if (k > 127) return y * 2.0f * power_of_two(127);
    if (k < -126) return y * power_of_two(k + 100) * power_of_two(-100);
    return y * power_of_two(k);
}

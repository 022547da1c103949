// CUDA C for a C++ compiler, as far as the engine's kernels use it: one fiber for each thread of a block.
//
// Threads of a block run one after the other as far as the next barrier; blocks run one after the other. Shared memory
// is filled with numbers that are none before every block. What this cannot show: races between threads of a block that
// need another order than this one, and anything about speed.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

struct Index3 {
    unsigned int x, y, z;
};

extern Index3 threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __shared__
#define __launch_bounds__(...)

void __syncthreads();

static inline unsigned int __float_as_uint(float number) {
    unsigned int bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static inline float __uint_as_float(unsigned int bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

// A kernel: its name, the sizes of what it is given, and how it is called with pointers to that.
struct Kernel {
    const char *name;
    size_t arguments;
    const size_t *sizes;
    void (*call)(void **arguments);
};

// The engine's kernels; nothing if there is none of that name.
const Kernel *find_kernel(const char *name);

enum class Launch { done, illegal_address, failed };

// Runs all blocks of a kernel.
Launch run_kernel(const Kernel &kernel, Index3 grid, Index3 block, size_t shared_bytes, void **arguments);

// Shared memory that a launch may ask for.
constexpr size_t SHARED_MAX = 48 << 10;

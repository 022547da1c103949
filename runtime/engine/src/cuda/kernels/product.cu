// The product of rows with a matrix: out[row][output] = sum over inputs, from the first to the last.
//
// The matrix lies [input][output], so that neighbouring threads read neighbouring numbers. A sum is one thread's and is
// added up in order, however many rows there are: so a row's result does not depend on the batch, which cuBLAS does not
// promise. It costs the use of fused multiply-add (half of the peak) and of tensor cores.

#define TILE 64
#define DEPTH 16

// Tiles of 64 rows by 64 outputs, 256 threads with 4 by 4 sums each. Grid: (outputs / 64, rows / 64), rounded up.
// Shared memory: DEPTH * (TILE + 1) + DEPTH * TILE numbers.
extern "C" __global__ void __launch_bounds__(256) product_tiled(
    const float *x, const float *matrix, float *out, u32 rows, u32 inputs, u32 outputs
) {
    float *tile_x = shared_memory;
    float *tile_m = shared_memory + DEPTH * (TILE + 1);
    u32 first_row = blockIdx.y * TILE, first_output = blockIdx.x * TILE;
    u32 column = threadIdx.x % 16, line = threadIdx.x / 16;
    float sums[4][4] = {};
    for (u32 from = 0; from < inputs; from += DEPTH) {
        u32 depth = inputs - from < DEPTH ? inputs - from : DEPTH;
        for (u32 i = threadIdx.x; i < TILE * DEPTH; i += 256) {
            u32 row = i / DEPTH, k = i % DEPTH;
            bool there = first_row + row < rows && k < depth;
            tile_x[k * (TILE + 1) + row] = there ? x[(u64)(first_row + row) * inputs + from + k] : 0.0f;
        }
        for (u32 i = threadIdx.x; i < TILE * DEPTH; i += 256) {
            u32 k = i / TILE, output = i % TILE;
            bool there = first_output + output < outputs && k < depth;
            tile_m[k * TILE + output] = there ? matrix[(u64)(from + k) * outputs + first_output + output] : 0.0f;
        }
        __syncthreads();
        for (u32 k = 0; k < depth; k++) {
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                float left = tile_x[k * (TILE + 1) + line * 4 + i];
#pragma unroll
                for (u32 j = 0; j < 4; j++) sums[i][j] += left * tile_m[k * TILE + column + 16 * j];
            }
        }
        __syncthreads();
    }
    for (u32 i = 0; i < 4; i++) {
        for (u32 j = 0; j < 4; j++) {
            u32 row = first_row + line * 4 + i, output = first_output + column + 16 * j;
            if (row < rows && output < outputs) out[(u64)row * outputs + output] = sums[i][j];
        }
    }
}

#define FEW 8
#define SPAN 128

// For few rows: a thread an output, with the sums of 8 rows. Grid: (outputs / threads, rows / 8), rounded up.
// Shared memory: FEW * SPAN numbers.
extern "C" __global__ void __launch_bounds__(64) product_few(
    const float *x, const float *matrix, float *out, u32 rows, u32 inputs, u32 outputs
) {
    float *span = shared_memory;
    u32 first_row = blockIdx.y * FEW;
    u32 output = blockIdx.x * blockDim.x + threadIdx.x;
    float sums[FEW] = {};
    for (u32 from = 0; from < inputs; from += SPAN) {
        u32 length = inputs - from < SPAN ? inputs - from : SPAN;
        for (u32 i = threadIdx.x; i < FEW * SPAN; i += blockDim.x) {
            u32 row = i / SPAN, k = i % SPAN;
            bool there = first_row + row < rows && k < length;
            span[i] = there ? x[(u64)(first_row + row) * inputs + from + k] : 0.0f;
        }
        __syncthreads();
        if (output < outputs) {
#pragma unroll 8
            for (u32 k = 0; k < length; k++) {
                float weight = matrix[(u64)(from + k) * outputs + output];
#pragma unroll
                for (u32 row = 0; row < FEW; row++) sums[row] += span[row * SPAN + k] * weight;
            }
        }
        __syncthreads();
    }
    if (output < outputs) {
        for (u32 row = 0; row < FEW && first_row + row < rows; row++) {
            out[(u64)(first_row + row) * outputs + output] = sums[row];
        }
    }
}

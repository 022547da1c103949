// The paged pool: storing what a step computed, and moving parts of blocks to and from contiguous memory.
//
// The pool lies as src/kv/shape.rs says: [block][layer][k, v][token in block][kv head][dimension].

// Writes the keys and values of a step's rows to their slots (block * tokens of a block + token). Grid: rows.
extern "C" __global__ void store_kv(
    const float *keys, const float *values, float *pool, const u32 *slots, u32 width, u32 block_tokens, u32 layer,
    u32 layers
) {
    u32 row = blockIdx.x, slot = slots[row];
    if (slot == NONE) return;
    u64 half = (u64)block_tokens * width;
    float *to = pool + ((u64)(slot / block_tokens) * layers + layer) * 2 * half + (u64)(slot % block_tokens) * width;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        to[i] = keys[(u64)row * width + i];
        to[half + i] = values[(u64)row * width + i];
    }
}

// Copies `numbers` numbers from offset `within` of each block, one after the other. Grid: (parts, blocks).
extern "C" __global__ void gather_blocks(
    const float *pool, float *out, const u32 *blocks, u64 block_numbers, u64 within, u64 numbers
) {
    const float *from = pool + blocks[blockIdx.y] * block_numbers + within;
    float *to = out + blockIdx.y * numbers;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < numbers; i += (u64)gridDim.x * blockDim.x) {
        to[i] = from[i];
    }
}

// The way back.
extern "C" __global__ void scatter_blocks(
    float *pool, const float *in, const u32 *blocks, u64 block_numbers, u64 within, u64 numbers
) {
    float *to = pool + blocks[blockIdx.y] * block_numbers + within;
    const float *from = in + blockIdx.y * numbers;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < numbers; i += (u64)gridDim.x * blockDim.x) {
        to[i] = from[i];
    }
}

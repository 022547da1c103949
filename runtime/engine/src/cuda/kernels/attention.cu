// Causal attention over the paged pool, for chunks of prompts behind a cached prefix and for single tokens.
//
// Both give a row the bits that src/math/attention.rs gives it: scores, their largest, exponentials, their sum and the
// weighted values from the first position to the last. To keep that order without room for all scores of a long
// context, the positions are walked over twice, in spans: first for the largest score, then for the rest, with the
// scores computed again. An online softmax would walk once and round differently.

// Rows of queries that go together: one entry of the list that the host makes.
struct Rows {
    u32 row;       // the first, in the step
    u32 count;     // how many
    u32 position;  // of the first
    u32 table;     // where the sequence's blocks begin in the tables
};

struct Pool {
    const float *numbers;
    const u32 *table;
    u32 block_tokens, layer, layers, width;

    // The keys of a position; its values are `half` numbers behind.
    __device__ const float *keys(u32 position) const {
        u64 block = table[position / block_tokens];
        return numbers + (block * layers + layer) * 2 * half() + (u64)(position % block_tokens) * width;
    }
    __device__ u64 half() const { return (u64)block_tokens * width; }
};

// A chunk: up to `rows_most` rows of one piece and one query head to a block, keys and values of `span` positions in
// shared memory. Grid: (lists of rows, query heads). Shared memory, in numbers:
// (2 * rows_most + span) * (dim + 1) + rows_most * (span + 2).
extern "C" __global__ void __launch_bounds__(128) attend_prefill(
    const float *queries, const float *numbers, float *out, const Rows *lists, const u32 *tables, u32 query_heads,
    u32 kv_heads, u32 dim, u32 block_tokens, u32 layer, u32 layers, float scale, u32 rows_most, u32 span
) {
    Rows rows = lists[blockIdx.x];
    Pool pool = {numbers, tables + rows.table, block_tokens, layer, layers, kv_heads * dim};
    u32 head = blockIdx.y, shared_head = head / (query_heads / kv_heads) * dim;
    u32 pitch = dim + 1;
    float *query = shared_memory;
    float *sum_values = query + rows_most * pitch;
    float *tile = sum_values + rows_most * pitch;
    float *scores = tile + span * pitch;
    float *largest = scores + rows_most * span;
    float *sums = largest + rows_most;
    u32 thread = threadIdx.x, threads = blockDim.x;
    for (u32 i = thread; i < rows.count * dim; i += threads) {
        u32 row = i / dim, d = i % dim;
        query[row * pitch + d] = queries[((u64)(rows.row + row) * query_heads + head) * dim + d];
        sum_values[row * pitch + d] = 0;
    }
    if (thread < rows.count) {
        largest[thread] = __uint_as_float(0xff800000u);
        sums[thread] = 0;
    }
    u32 seen = rows.position + rows.count;
    for (u32 pass = 0; pass < 2; pass++) {
        for (u32 from = 0; from < seen; from += span) {
            u32 length = seen - from < span ? seen - from : span;
            __syncthreads();
            for (u32 i = thread; i < length * dim; i += threads) {
                tile[i / dim * pitch + i % dim] = pool.keys(from + i / dim)[shared_head + i % dim];
            }
            __syncthreads();
            for (u32 i = thread; i < rows.count * length; i += threads) {
                u32 row = i / length, t = i % length;
                float score = dot(query + row * pitch, tile + t * pitch, dim) * scale;
                scores[row * span + t] = pass == 0 ? score : exact_exp(score - largest[row]);
            }
            __syncthreads();
            if (pass == 1) {
                for (u32 i = thread; i < length * dim; i += threads) {
                    tile[i / dim * pitch + i % dim] = (pool.keys(from + i / dim) + pool.half())[shared_head + i % dim];
                }
            }
            // A row sees the positions up to its own.
            if (thread < rows.count) {
                u32 own = rows.position + thread + 1;
                for (u32 t = 0; t < length && from + t < own; t++) {
                    float score = scores[thread * span + t];
                    if (pass == 0) largest[thread] = fmaxf(largest[thread], score);
                    else sums[thread] += score;
                }
            }
            __syncthreads();
            if (pass == 1) {
                for (u32 i = thread; i < rows.count * dim; i += threads) {
                    u32 row = i / dim, d = i % dim, own = rows.position + row + 1;
                    float sum = sum_values[row * pitch + d];
                    for (u32 t = 0; t < length && from + t < own; t++) {
                        sum += scores[row * span + t] * tile[t * pitch + d];
                    }
                    sum_values[row * pitch + d] = sum;
                }
            }
        }
    }
    __syncthreads();
    for (u32 i = thread; i < rows.count * dim; i += threads) {
        u32 row = i / dim, d = i % dim;
        out[((u64)(rows.row + row) * query_heads + head) * dim + d] = sum_values[row * pitch + d] / sums[row];
    }
}

// A single row and one query head to a block; keys and values are read where they lie, once a pass. Grid: (lists of
// rows, query heads). Shared memory, in numbers: 2 * dim + threads + 1.
extern "C" __global__ void __launch_bounds__(128) attend_decode(
    const float *queries, const float *numbers, float *out, const Rows *lists, const u32 *tables, u32 query_heads,
    u32 kv_heads, u32 dim, u32 block_tokens, u32 layer, u32 layers, float scale
) {
    Rows rows = lists[blockIdx.x];
    Pool pool = {numbers, tables + rows.table, block_tokens, layer, layers, kv_heads * dim};
    u32 head = blockIdx.y, shared_head = head / (query_heads / kv_heads) * dim;
    u32 thread = threadIdx.x, threads = blockDim.x;
    float *query = shared_memory;
    float *sum_values = query + dim;
    float *scores = sum_values + dim;
    float *whole = scores + threads;
    u64 at = ((u64)rows.row * query_heads + head) * dim;
    for (u32 d = thread; d < dim; d += threads) {
        query[d] = queries[at + d];
        sum_values[d] = 0;
    }
    __syncthreads();
    u32 seen = rows.position + 1;
    float largest = __uint_as_float(0xff800000u);
    for (u32 position = thread; position < seen; position += threads) {
        largest = fmaxf(largest, dot(query, pool.keys(position) + shared_head, dim) * scale);
    }
    scores[thread] = largest;
    __syncthreads();
    // The largest of all does not depend on the order.
    for (u32 i = 0; i < threads; i++) largest = fmaxf(largest, scores[i]);
    __syncthreads();
    float sum = 0;
    for (u32 from = 0; from < seen; from += threads) {
        u32 length = seen - from < threads ? seen - from : threads;
        if (thread < length) {
            float score = dot(query, pool.keys(from + thread) + shared_head, dim) * scale;
            scores[thread] = exact_exp(score - largest);
        }
        __syncthreads();
        if (thread == 0) {
            for (u32 t = 0; t < length; t++) sum += scores[t];
        }
        for (u32 d = thread; d < dim; d += threads) {
            float values = sum_values[d];
            for (u32 t = 0; t < length; t++) {
                values += scores[t] * (pool.keys(from + t) + pool.half())[shared_head + d];
            }
            sum_values[d] = values;
        }
        __syncthreads();
    }
    if (thread == 0) *whole = sum;
    __syncthreads();
    for (u32 d = thread; d < dim; d += threads) out[at + d] = sum_values[d] / *whole;
}

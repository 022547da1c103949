// Kernels over the rows of a step: embedding, norm, rotary embedding, SwiGLU, residuals.

// The embeddings of tokens; `table` is [hidden][vocabulary], as products want it. Grid: rows.
extern "C" __global__ void embed(const float *table, const u32 *tokens, float *out, u32 hidden, u32 vocabulary) {
    u32 row = blockIdx.x;
    const float *column = table + tokens[row];
    for (u32 i = threadIdx.x; i < hidden; i += blockDim.x) {
        out[(u64)row * hidden + i] = column[(u64)i * vocabulary];
    }
}

// x / sqrt(mean(x^2) + epsilon) * weight, for the rows that are picked, or (without picks) for all. Grid: rows.
// Block: at least 8 threads.
extern "C" __global__ void rms_norm(
    const float *x, const u32 *picks, const float *weight, float *out, u32 hidden, float epsilon
) {
    const float *row = x + (u64)(picks ? picks[blockIdx.x] : blockIdx.x) * hidden;
    float *sums = shared_memory;
    u32 thread = threadIdx.x;
    if (thread < 8) {
        float sum = 0;
#pragma unroll 8
        for (u32 i = thread; i < hidden; i += 8) sum += row[i] * row[i];
        sums[thread] = sum;
    }
    __syncthreads();
    float square = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
    float scale = 1.0f / sqrtf(square / (float)hidden + epsilon);
    for (u32 i = thread; i < hidden; i += blockDim.x) {
        out[(u64)blockIdx.x * hidden + i] = row[i] * scale * weight[i];
    }
}

// Turns the pair (i, i + half) of each head by the row's angle i; `angles` is [row][half][cosine, sine]. Grid: rows.
extern "C" __global__ void rotate(float *x, const float *angles, u32 heads, u32 half) {
    u64 row = blockIdx.x;
    for (u32 pair = threadIdx.x; pair < heads * half; pair += blockDim.x) {
        u32 head = pair / half, i = pair % half;
        float *low = x + (row * heads + head) * 2 * half + i, *high = low + half;
        float cosine = angles[(row * half + i) * 2], sine = angles[(row * half + i) * 2 + 1];
        float a = *low, b = *high;
        *low = a * cosine - b * sine;
        *high = b * cosine + a * sine;
    }
}

// gate * sigmoid(gate) * up, into gate. A thread a number.
extern "C" __global__ void swiglu(float *gate, const float *up, u64 count) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) gate[i] = gate[i] / (1.0f + exact_exp(-gate[i])) * up[i];
}

// Adds a row to another. A thread a number.
extern "C" __global__ void add(float *to, const float *x, u64 count) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) to[i] += x[i];
}

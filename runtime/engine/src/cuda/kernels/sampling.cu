// From logits to tokens, as src/sampling.rs: greedy, or by chance at a temperature.
//
// The draw itself, a share of the whole weight, is the host's: it is a function of seed and position. A nucleus
// (top_p below 1) needs the tokens in order of their weight; the host chooses then, from the logits.

// Grid: one block for each row of logits; 256 threads. Shared memory: 3 * threads numbers.
// `temperatures` is 0 for greedy; `weights` is room for as many numbers as there are logits.
extern "C" __global__ void __launch_bounds__(256) choose(
    const float *logits, const float *temperatures, const double *shares, float *weights, u32 *tokens, u32 vocabulary
) {
    const float *row = logits + (u64)blockIdx.x * vocabulary;
    float *own = weights + (u64)blockIdx.x * vocabulary;
    u32 thread = threadIdx.x, threads = blockDim.x;
    float *largest = shared_memory;
    u32 *best = (u32 *)(shared_memory + threads);
    u32 *broken = best + threads;
    largest[thread] = __uint_as_float(0xff800000u);
    best[thread] = NONE;
    broken[thread] = 0;
    for (u32 token = thread; token < vocabulary; token += threads) {
        float logit = row[token];
        if (logit != logit) broken[thread] = 1;
        if (best[thread] == NONE || logit > largest[thread]) {
            largest[thread] = logit;
            best[thread] = token;
        }
    }
    __syncthreads();
    for (u32 step = threads / 2; step > 0; step /= 2) {
        if (thread < step) {
            u32 other = thread + step;
            bool larger = largest[other] > largest[thread];
            // The smaller token among equals.
            bool first = largest[other] == largest[thread] && best[other] < best[thread];
            if (larger || first) {
                largest[thread] = largest[other];
                best[thread] = best[other];
            }
            broken[thread] |= broken[other];
        }
        __syncthreads();
    }
    float top = largest[0], temperature = temperatures[blockIdx.x];
    bool finite = (__float_as_uint(top) & 0x7fffffffu) < 0x7f800000u;
    bool usable = finite && !broken[0];
    if (usable && temperature > 0) {
        for (u32 token = thread; token < vocabulary; token += threads) {
            own[token] = exact_exp((row[token] - top) / temperature);
        }
    }
    __syncthreads();
    if (thread != 0) return;
    u32 token = best[0];
    if (usable && temperature > 0) {
        double total = 0;
        for (u32 i = 0; i < vocabulary; i++) total += (double)own[i];
        double left = shares[blockIdx.x] * total;
        for (u32 i = 0; i < vocabulary; i++) {
            // With rounding nothing may be left to fall below: then it is the last token that has any weight.
            if (own[i] > 0) token = i;
            left -= (double)own[i];
            if (left < 0) break;
        }
    }
    tokens[blockIdx.x] = usable ? token : NONE;
}

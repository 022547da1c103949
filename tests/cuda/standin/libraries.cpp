// libnvrtc.so and libcublas.so: a compiler that takes the engine's kernels alone, and a product that adds up in another
// order than they do.

#include "world.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

// The text of the kernels that this library was built of.
#define EMBED(name, file)                                                                                              \
    asm(".section .rodata\n" #name ": .incbin \"../../../runtime/engine/src/cuda/kernels/" file "\"\n" #name           \
        "_end: .byte 0\n.text\n");                                                                                     \
    extern "C" const char name[] __attribute__((visibility("hidden")));

EMBED(text_common, "common.cuh")
EMBED(text_rows, "rows.cu")
EMBED(text_product, "product.cu")
EMBED(text_paged, "paged.cu")
EMBED(text_attention, "attention.cu")
EMBED(text_sampling, "sampling.cu")

namespace {

enum Compiled { FINE = 0, FAILED = 6 };

struct Program {
    std::string text, log, image;
};

// What NVRTC must be told for the arithmetic that the engine promises.
const char *const needed[] = {"--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true"};

} // namespace

API nvrtcVersion(int *major, int *minor) {
    *major = 12;
    *minor = 8;
    return FINE;
}

API nvrtcGetNumSupportedArchs(int *count) {
    *count = 2;
    return FINE;
}

API nvrtcGetSupportedArchs(int *known) {
    known[0] = 80;
    known[1] = 90;
    return FINE;
}

API nvrtcCreateProgram(Program **program, const char *text, const char *, int, const char *const *,
                       const char *const *) {
    *program = new Program{text, "", ""};
    return FINE;
}

API nvrtcDestroyProgram(Program **program) {
    delete *program;
    return FINE;
}

API nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    std::string known = std::string(text_common) + text_rows + text_product + text_paged + text_attention + text_sampling;
    // Compiling is counted in a file, so that a test sees what was kept.
    if (const char *file = getenv("STANDIN_COMPILED")) {
        if (FILE *out = fopen(file, "a")) {
            fputs("compiled\n", out);
            fclose(out);
        }
    }
    if (World::setting("STANDIN_NVRTC", 1) != 1 || program->text != known) {
        program->log = "conductor.cu(1): error: not the kernels that the stand-in was built of\n";
        return FAILED;
    }
    std::string target;
    for (int option = 0; option < count; option++) {
        if (strncmp(options[option], "--gpu-architecture=", 19) == 0) target = options[option] + 19;
    }
    for (const char *need : needed) {
        bool given = false;
        for (int option = 0; option < count; option++) given |= strcmp(options[option], need) == 0;
        if (!given) program->log += std::string("error: ") + need + " is missing\n";
    }
    program->image = "stand-in " + target;
    return program->log.empty() && !target.empty() ? FINE : FAILED;
}

API nvrtcGetCUBINSize(Program *program, size_t *size) {
    *size = program->image.size() + 1;
    return FINE;
}

API nvrtcGetCUBIN(Program *program, char *out) {
    memcpy(out, program->image.c_str(), program->image.size() + 1);
    return FINE;
}

API nvrtcGetPTXSize(Program *program, size_t *size) { return nvrtcGetCUBINSize(program, size); }

API nvrtcGetPTX(Program *program, char *out) { return nvrtcGetCUBIN(program, out); }

API nvrtcGetProgramLogSize(Program *program, size_t *size) {
    *size = program->log.size() + 1;
    return FINE;
}

API nvrtcGetProgramLog(Program *program, char *out) {
    memcpy(out, program->log.c_str(), program->log.size() + 1);
    return FINE;
}

// cuBLAS: a handle is its stream.

API cublasCreate_v2(void ***handle) {
    *handle = new void *(nullptr);
    return entered ? 0 : 1;
}

API cublasDestroy_v2(void **handle) {
    delete handle;
    return 0;
}

API cublasSetStream_v2(void **handle, void *stream) {
    *handle = stream;
    return 0;
}

API cublasSetMathMode(void **, int mode) { return mode == 2 ? 0 : 7; }

// C = alpha A B + beta C in columns, none of them transposed, from the last number to the first.
API cublasSgemm_v2(void **handle, int transposed_a, int transposed_b, int m, int n, int k, const float *alpha,
                   const float *a, int lda, const float *b, int ldb, const float *beta, float *c, int ldc) {
    std::lock_guard<std::recursive_mutex> guard(world().lock);
    if (transposed_a != 0 || transposed_b != 0 || *alpha != 1 || *beta != 0 || lda < m || ldb < k || ldc < m) return 7;
    size_t sizes[] = {sizeof(float) * lda * k, sizeof(float) * ldb * n, sizeof(float) * ldc * n};
    const float *parts[] = {a, b, c};
    for (int part = 0; part < 3; part++) {
        if (!world().holds(reinterpret_cast<uintptr_t>(parts[part]), sizes[part], false)) return 7;
    }
    Result given = world().give(*handle, [=] {
        for (int column = 0; column < n; column++) {
            for (int row = 0; row < m; row++) {
                float sum = 0;
                for (int i = k - 1; i >= 0; i--) sum += a[(size_t)i * lda + row] * b[(size_t)column * ldb + i];
                c[(size_t)column * ldc + row] = sum;
            }
        }
        return SUCCESS;
    });
    return given == SUCCESS ? 0 : 13;
}

// The engine's own kernels, compiled for this machine's processor.

#include "shim.h"

#include <tuple>
#include <utility>

using std::fmax;

#include "../../../runtime/engine/src/cuda/kernels/common.cuh"

#include "../../../runtime/engine/src/cuda/kernels/rows.cu"

#include "../../../runtime/engine/src/cuda/kernels/product.cu"

#include "../../../runtime/engine/src/cuda/kernels/paged.cu"

#include "../../../runtime/engine/src/cuda/kernels/attention.cu"

#include "../../../runtime/engine/src/cuda/kernels/sampling.cu"

template <auto function> struct Bound;

template <typename... Types, void (*function)(Types...)> struct Bound<function> {
    static constexpr size_t sizes[] = {sizeof(Types)...};
    static constexpr size_t count = sizeof...(Types);

    template <size_t... places> static void apply(void **arguments, std::index_sequence<places...>) {
        function(*static_cast<Types *>(arguments[places])...);
    }
    static void call(void **arguments) { apply(arguments, std::index_sequence_for<Types...>{}); }
};

#define KERNEL(name) {#name, Bound<name>::count, Bound<name>::sizes, Bound<name>::call}

static const Kernel kernels[] = {
    KERNEL(embed),         KERNEL(rms_norm),       KERNEL(rotate),        KERNEL(swiglu),   KERNEL(add),
    KERNEL(product_tiled), KERNEL(product_few),    KERNEL(store_kv),      KERNEL(gather_blocks),
    KERNEL(scatter_blocks), KERNEL(attend_prefill), KERNEL(attend_decode), KERNEL(choose),
};

const Kernel *find_kernel(const char *name) {
    for (const Kernel &kernel : kernels) {
        if (strcmp(kernel.name, name) == 0) return &kernel;
    }
    return nullptr;
}

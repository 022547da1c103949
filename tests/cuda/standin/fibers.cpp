// Blocks of threads as fibers, and memory faults of kernels as errors.
//
// A fiber is begun with makecontext and then switched with _setjmp and _longjmp, which leave signal masks alone and so
// cost nanoseconds. A fault inside of a kernel (all memory of the stand-in ends at a page that nobody may touch) jumps
// out of the launch. One launch runs at a time.

#include "shim.h"

#include <csetjmp>
#include <csignal>
#include <memory>
#include <mutex>
#include <ucontext.h>
#include <vector>

Index3 threadIdx, blockIdx, blockDim, gridDim;

// Numbers behind what a launch asked for show whether it writes beyond.
constexpr size_t GUARD = 64;
alignas(16) float shared_memory[SHARED_MAX / sizeof(float) + GUARD];

namespace {

constexpr size_t STACK = 64 << 10;
constexpr uint32_t POISON = 0x7fc0dead;

struct Fiber {
    std::unique_ptr<char[]> stack{new char[STACK]};
    ucontext_t begin;
    jmp_buf at;
    Index3 index;
    bool begun = false, done = false;
};

std::vector<std::unique_ptr<Fiber>> fibers;
Fiber *current;
jmp_buf scheduler;
sigjmp_buf launcher;
volatile sig_atomic_t inside = 0;
const Kernel *kernel;
void **kernel_arguments;

// A fiber goes on with the next block when one is done.
void body() {
    for (;;) {
        kernel->call(kernel_arguments);
        current->done = true;
        if (_setjmp(current->at) == 0) _longjmp(scheduler, 1);
    }
}

void fault(int signal, siginfo_t *, void *) {
    if (inside) siglongjmp(launcher, 1);
    // Not a kernel's: let it be what it is.
    ::signal(signal, SIG_DFL);
    raise(signal);
}

void resume(Fiber &fiber) {
    current = &fiber;
    threadIdx = fiber.index;
    if (_setjmp(scheduler) != 0) return;
    if (fiber.begun) _longjmp(fiber.at, 1);
    fiber.begun = true;
    getcontext(&fiber.begin);
    fiber.begin.uc_stack.ss_sp = fiber.stack.get();
    fiber.begin.uc_stack.ss_size = STACK;
    fiber.begin.uc_link = nullptr;
    makecontext(&fiber.begin, body, 0);
    setcontext(&fiber.begin);
}

// One block; false if its threads do not all come to the same barriers.
bool run_block(size_t threads) {
    for (size_t thread = 0; thread < threads; thread++) {
        fibers[thread]->done = false;
        fibers[thread]->index = {static_cast<unsigned int>(thread), 0, 0};
    }
    for (;;) {
        size_t done = 0;
        for (size_t thread = 0; thread < threads; thread++) {
            resume(*fibers[thread]);
            done += fibers[thread]->done;
        }
        if (done == threads) return true;
        if (done != 0) return false;
    }
}

} // namespace

void __syncthreads() {
    if (_setjmp(current->at) == 0) _longjmp(scheduler, 1);
    threadIdx = current->index;
}

Launch run_kernel(const Kernel &launched, Index3 grid, Index3 block, size_t shared_bytes, void **arguments) {
    static std::mutex one;
    std::lock_guard<std::mutex> guard(one);
    size_t threads = block.x;
    while (fibers.size() < threads) fibers.push_back(std::make_unique<Fiber>());
    kernel = &launched;
    kernel_arguments = arguments;
    gridDim = grid;
    blockDim = block;

    struct sigaction ours = {}, segv, bus;
    ours.sa_sigaction = fault;
    ours.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &ours, &segv);
    sigaction(SIGBUS, &ours, &bus);
    volatile Launch result = Launch::done;
    if (sigsetjmp(launcher, 1) != 0) {
        result = Launch::illegal_address;
    } else {
        inside = 1;
        size_t words = (shared_bytes + 3) / 4;
        for (unsigned int y = 0; y < grid.y && result == Launch::done; y++) {
            for (unsigned int x = 0; x < grid.x && result == Launch::done; x++) {
                blockIdx = {x, y, 0};
                for (size_t word = 0; word < words + GUARD; word++) memcpy(&shared_memory[word], &POISON, 4);
                if (!run_block(threads)) result = Launch::failed;
                for (size_t word = words; word < words + GUARD; word++) {
                    if (memcmp(&shared_memory[word], &POISON, 4) != 0) result = Launch::illegal_address;
                }
            }
        }
    }
    inside = 0;
    // Fibers in the middle of a kernel are given up.
    if (result != Launch::done) fibers.clear();
    sigaction(SIGSEGV, &segv, nullptr);
    sigaction(SIGBUS, &bus, nullptr);
    return result;
}

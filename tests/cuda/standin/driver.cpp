// libcuda.so: the functions of CUDA's driver that the engine calls, on a device that is this machine's processor.
//
// Memory of the device is memory of the host that ends at a page which nobody may touch. Stricter than CUDA where that
// finds mistakes: copies go to and from pinned memory alone, and every call needs a current context.

#include "shim.h"
#include "world.h"

#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

thread_local bool entered = false;

World &world() {
    static World *one = new World; // Never destroyed: others may call until the very end.
    return *one;
}

long World::setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

Result World::give(void *handle, std::function<Result()> work) {
    if (failed != SUCCESS) return failed;
    auto found = streams.find(handle);
    if (found == streams.end()) return INVALID_HANDLE;
    found->second->waiting.push_back(std::move(work));
    found->second->given++;
    return SUCCESS;
}

Result World::run(Stream &stream, uint64_t place) {
    while (failed == SUCCESS && stream.done < place) {
        auto work = std::move(stream.waiting.front());
        stream.waiting.pop_front();
        stream.done++;
        failed = work();
    }
    return failed;
}

Result World::run_all() {
    for (auto &[handle, stream] : streams) run(*stream, stream->given);
    return failed;
}

bool World::holds(uintptr_t address, size_t bytes, bool pinned) const {
    auto after = memory.upper_bound(address);
    if (after == memory.begin()) return false;
    const auto &[start, found] = *std::prev(after);
    return found.pinned == pinned && address - start <= found.bytes && bytes <= found.bytes - (address - start);
}

namespace {

using Guard = std::lock_guard<std::recursive_mutex>;

constexpr size_t PAGE = 4096;

// At the end of its pages, but for alignment; a multiple of 2 MiB begins at one.
Result allocate(size_t bytes, bool pinned, uintptr_t *address) {
    World &w = world();
    if (!entered) return INVALID_CONTEXT;
    if (w.failed != SUCCESS) return w.failed;
    if (bytes == 0) return INVALID_VALUE;
    size_t limit = World::setting("STANDIN_MEMORY", 256l << 20);
    if (!pinned && (bytes > limit || w.used > limit - bytes)) return OUT_OF_MEMORY;
    size_t align = bytes >= (2u << 20) ? 2u << 20 : 256;
    size_t room = (bytes + PAGE - 1) / PAGE * PAGE;
    size_t map_bytes = room + 2 * PAGE + align;
    void *map = mmap(nullptr, map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return OUT_OF_MEMORY;
    uintptr_t pages = (reinterpret_cast<uintptr_t>(map) + PAGE + align - 1) / align * align;
    if (align == 256) pages = reinterpret_cast<uintptr_t>(map) + PAGE;
    mprotect(reinterpret_cast<void *>(pages), room, PROT_READ | PROT_WRITE);
    *address = align == 256 ? (pages + room - bytes) / 256 * 256 : pages;
    // What was never written are numbers that would be seen.
    memset(reinterpret_cast<void *>(pages), 0xff, room);
    w.memory[*address] = {map, map_bytes, bytes, pinned};
    if (!pinned) w.used += bytes;
    return SUCCESS;
}

Result release(uintptr_t address, bool pinned) {
    World &w = world();
    if (w.run_all() != SUCCESS) return w.failed;
    auto found = w.memory.find(address);
    if (found == w.memory.end() || found->second.pinned != pinned) return INVALID_VALUE;
    munmap(found->second.map, found->second.map_bytes);
    if (!pinned) w.used -= found->second.bytes;
    w.memory.erase(found);
    return SUCCESS;
}

Result copy(uintptr_t to, bool to_pinned, uintptr_t from, size_t bytes, void *stream) {
    World &w = world();
    if (!entered) return INVALID_CONTEXT;
    if (!w.holds(to, bytes, to_pinned) || !w.holds(from, bytes, !to_pinned)) return INVALID_VALUE;
    return w.give(stream, [=] {
        memcpy(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes);
        return SUCCESS;
    });
}

} // namespace

API cuInit(unsigned int) { return World::setting("STANDIN_DEVICES", 1) > 0 ? SUCCESS : NO_DEVICE; }

API cuDriverGetVersion(int *version) {
    *version = 12080;
    return SUCCESS;
}

API cuDeviceGetCount(int *count) {
    *count = static_cast<int>(World::setting("STANDIN_DEVICES", 1));
    return SUCCESS;
}

API cuDeviceGet(int *device, int number) {
    *device = number;
    return number >= 0 && number < World::setting("STANDIN_DEVICES", 1) ? SUCCESS : INVALID_DEVICE;
}

API cuDeviceGetName(char *name, int length, int) {
    strncpy(name, "stand-in", length);
    return SUCCESS;
}

API cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = World::setting("STANDIN_MEMORY", 256l << 20);
    return SUCCESS;
}

API cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case 75: *value = 9; break;
    case 76: *value = 0; break;
    case 116: *value = 1; break;
    case 124: *value = static_cast<int>(World::setting("STANDIN_DMABUF", 1)); break;
    default: return INVALID_VALUE;
    }
    return SUCCESS;
}

API cuDevicePrimaryCtxRetain(void **context, int) {
    *context = &world();
    return SUCCESS;
}

API cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }

API cuCtxSetCurrent(void *context) {
    entered = context == &world();
    return entered ? SUCCESS : INVALID_CONTEXT;
}

API cuCtxSynchronize() {
    Guard guard(world().lock);
    return entered ? world().run_all() : INVALID_CONTEXT;
}

API cuMemGetInfo_v2(size_t *free, size_t *total) {
    Guard guard(world().lock);
    *total = World::setting("STANDIN_MEMORY", 256l << 20);
    *free = *total - world().used;
    return entered ? SUCCESS : INVALID_CONTEXT;
}

API cuMemAlloc_v2(uintptr_t *address, size_t bytes) {
    Guard guard(world().lock);
    return allocate(bytes, false, address);
}

API cuMemFree_v2(uintptr_t address) {
    Guard guard(world().lock);
    return release(address, false);
}

API cuMemHostAlloc(uintptr_t *address, size_t bytes, unsigned int) {
    Guard guard(world().lock);
    return allocate(bytes, true, address);
}

API cuMemFreeHost(uintptr_t address) {
    Guard guard(world().lock);
    return release(address, true);
}

API cuMemcpyHtoDAsync_v2(uintptr_t to, uintptr_t from, size_t bytes, void *stream) {
    Guard guard(world().lock);
    return copy(to, false, from, bytes, stream);
}

API cuMemcpyDtoHAsync_v2(uintptr_t to, uintptr_t from, size_t bytes, void *stream) {
    Guard guard(world().lock);
    return copy(to, true, from, bytes, stream);
}

// A descriptor that has the size, and nothing else, in common with a dma-buf.
API cuMemGetHandleForAddressRange(void *handle, uintptr_t address, size_t bytes, int type, unsigned long long) {
    Guard guard(world().lock);
    if (World::setting("STANDIN_DMABUF", 1) != 1 || type != 1) return NOT_SUPPORTED;
    if (address % PAGE != 0 || bytes % PAGE != 0 || !world().holds(address, bytes, false)) return INVALID_VALUE;
    int file = memfd_create("stand-in for a dma-buf", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, static_cast<off_t>(bytes)) != 0) return NOT_SUPPORTED;
    *static_cast<int *>(handle) = file;
    return SUCCESS;
}

API cuStreamCreate(void **stream, unsigned int) {
    Guard guard(world().lock);
    if (!entered) return INVALID_CONTEXT;
    if (world().failed != SUCCESS) return world().failed;
    auto made = std::make_shared<Stream>();
    *stream = made.get();
    world().streams[made.get()] = made;
    return SUCCESS;
}

API cuStreamDestroy_v2(void *stream) {
    Guard guard(world().lock);
    auto found = world().streams.find(stream);
    if (found == world().streams.end()) return INVALID_HANDLE;
    world().run(*found->second, found->second->given);
    world().streams.erase(found);
    return SUCCESS;
}

API cuStreamSynchronize(void *stream) {
    Guard guard(world().lock);
    if (!entered) return INVALID_CONTEXT;
    auto found = world().streams.find(stream);
    return found == world().streams.end() ? INVALID_HANDLE : world().run(*found->second, found->second->given);
}

API cuStreamWaitEvent(void *stream, Event *event, unsigned int) {
    Guard guard(world().lock);
    if (!entered) return INVALID_CONTEXT;
    Event then = *event;
    return world().give(stream, [then] { return then.stream ? world().run(*then.stream, then.place) : SUCCESS; });
}

API cuEventCreate(Event **event, unsigned int) {
    if (!entered) return INVALID_CONTEXT;
    *event = new Event;
    return SUCCESS;
}

API cuEventDestroy_v2(Event *event) {
    delete event;
    return SUCCESS;
}

API cuEventRecord(Event *event, void *stream) {
    Guard guard(world().lock);
    if (!entered) return INVALID_CONTEXT;
    Result given = world().give(stream, [] { return SUCCESS; });
    if (given != SUCCESS) return given;
    event->stream = world().streams[stream];
    event->place = event->stream->given;
    return SUCCESS;
}

API cuEventSynchronize(Event *event) {
    Guard guard(world().lock);
    if (!entered) return INVALID_CONTEXT;
    if (world().failed != SUCCESS) return world().failed;
    return event->stream ? world().run(*event->stream, event->place) : SUCCESS;
}

API cuModuleLoadData(void **module, const char *image) {
    *module = &world();
    return strncmp(image, "stand-in", 8) == 0 ? SUCCESS : INVALID_IMAGE;
}

API cuModuleUnload(void *) { return SUCCESS; }

API cuModuleGetFunction(const Kernel **function, void *, const char *name) {
    *function = find_kernel(name);
    return *function ? SUCCESS : NOT_FOUND;
}

#ifndef WITHOUT_LAUNCH
API cuLaunchKernel(const Kernel *kernel, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                   unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared_bytes,
                   void *stream, void **arguments, void **) {
    Guard guard(world().lock);
    if (!entered) return INVALID_CONTEXT;
    bool sizes = grid_x > 0 && grid_y > 0 && grid_y <= 65535 && grid_z == 1 && block_x > 0 && block_x <= 1024;
    if (!sizes || block_y != 1 || block_z != 1 || shared_bytes > SHARED_MAX) return INVALID_VALUE;
    // Arguments are copied by the call.
    std::vector<std::vector<char>> copies;
    for (size_t argument = 0; argument < kernel->arguments; argument++) {
        auto *from = static_cast<char *>(arguments[argument]);
        copies.emplace_back(from, from + kernel->sizes[argument]);
    }
    return world().give(stream, [=]() mutable {
        std::vector<void *> pointers;
        for (auto &copy : copies) pointers.push_back(copy.data());
        switch (run_kernel(*kernel, {grid_x, grid_y, 1}, {block_x, 1, 1}, shared_bytes, pointers.data())) {
        case Launch::done: return SUCCESS;
        case Launch::illegal_address: return ILLEGAL_ADDRESS;
        default: return LAUNCH_FAILED;
        }
    });
}
#endif

API cuGetErrorName(int error, const char **name) {
    static const std::map<int, const char *> names = {
        {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},     {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},             {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
        {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},     {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
        {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},   {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
        {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
        {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
    };
    auto found = names.find(error);
    *name = found == names.end() ? "CUDA_ERROR_UNKNOWN" : found->second;
    return SUCCESS;
}

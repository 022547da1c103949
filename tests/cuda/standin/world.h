// The stand-in's state: one device, its memory, and streams that do nothing before somebody waits.
//
// Work is done as late as CUDA allows, in the order of its stream, when a stream, an event or the device is waited for.
// So a copy that is read without waiting, memory that is filled again too early, or a stream that should have waited for
// another, give wrong numbers here every time instead of once in a while.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

enum Result : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801,
};

struct Stream {
    std::deque<std::function<Result()>> waiting;
    uint64_t given = 0, done = 0;
};

struct Event {
    std::shared_ptr<Stream> stream;
    uint64_t place = 0;
};

struct Memory {
    void *map;
    size_t map_bytes, bytes;
    bool pinned;
};

struct World {
    std::recursive_mutex lock;
    std::map<uintptr_t, Memory> memory;
    std::map<void *, std::shared_ptr<Stream>> streams;
    size_t used = 0;
    // The first error of work: every later call gives it back, as a context does that is of no use any more.
    Result failed = SUCCESS;

    // What the environment sets: STANDIN_DEVICES, STANDIN_MEMORY (bytes), STANDIN_DMABUF.
    static long setting(const char *name, long otherwise);

    Result give(void *stream, std::function<Result()> work);
    // Does a stream's work up to a place.
    Result run(Stream &stream, uint64_t place);
    Result run_all();
    // Is this within one allocation?
    bool holds(uintptr_t address, size_t bytes, bool pinned) const;
};

World &world();

// True if this thread has made the device's context current.
extern thread_local bool entered;

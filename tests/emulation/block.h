// A block of CUDA threads on a CPU. Every thread is a fiber; those that can go on do so one at a time, in an order that changes, until
// they meet: at a barrier, or in an instruction of a warp. What was not waited for is not there, as on a card.

#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

struct emulated_index { unsigned x, y, z; };
struct dim3 : emulated_index {
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : emulated_index{ x, y, z } {}
};

inline emulated_index threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

constexpr int    WARP         = 32;
constexpr size_t STACK        = 128*1024;
constexpr size_t SHARED_BYTES = 256*1024;
constexpr unsigned char GUARD = 0xEE;

[[noreturn]] inline void fail(const char * what, const char * more = "") {
    fprintf(stderr, "emulated block %u %u %u, thread %u: %s%s\n", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, what, more);
    abort();
}

inline char * shared() { // of the block that runs
    alignas(128) static char bytes[SHARED_BYTES];
    return bytes;
}

inline size_t & shared_size() { // what the block asked for
    static size_t n = SHARED_BYTES;
    return n;
}

// Where threads wait for each other, and what each brings along: kept twice, as the first to leave may come back before the last has looked.
struct meeting {
    struct luggage { alignas(16) char bytes[32]; };

    unsigned     members = 0, arrived = 0, generation = 0;
    const char * purpose = "";
    std::vector<luggage> brought[2];

    void expect(unsigned n) {
        members = n, arrived = 0;
        brought[0].assign(n, {});
        brought[1].assign(n, {});
    }
};

// A place to go on at. Light ones, as threads meet a million times: the compiler keeps what must be kept.
using place_to_go_on = void * [5];
[[noreturn, gnu::noinline]] inline void go_on(place_to_go_on & place) { __builtin_longjmp(place, 1); }

struct copy { char * to; const char * from; };

struct fiber {
    ucontext_t start;
    place_to_go_on here;
    std::unique_ptr<char[]> stack{ new char[STACK] };
    bool       started = false, done = false;
    const meeting * waits_for = nullptr;
    unsigned   generation = 0;          // that it waits to see the end of
    std::vector<copy>              open; // copies under way, those not committed apart
    std::vector<std::vector<copy>> groups;

    bool can_go_on() const { return !done && (waits_for == nullptr || waits_for->generation != generation); }
};

struct block {
    std::vector<std::unique_ptr<fiber>> fibers;
    std::vector<meeting>   warps;
    std::map<int, meeting> teams; // by the number of the barrier
    meeting                all;
    place_to_go_on         scheduler;
    fiber                * current = nullptr;
    const std::function<void()> * kernel = nullptr;
    std::mt19937           random{ 1 };
};
inline block & here() {
    static block one;
    return one;
}

inline void meet(meeting & m, unsigned place, const char * purpose, const void * mine = nullptr, size_t size = 0) {
    if (m.arrived > 0 && m.purpose != purpose && strcmp(m.purpose, purpose) != 0) {
        fail("threads that should meet do different things: ", purpose);
    }
    m.purpose = purpose;
    if (size > 0) {
        memcpy(m.brought[m.generation & 1][place].bytes, mine, size);
    }
    if (++m.arrived == m.members) {
        m.arrived = 0;
        ++m.generation;
        return;
    }
    fiber & f = *here().current;
    f.waits_for  = &m;
    f.generation = m.generation;
    if (__builtin_setjmp(f.here) == 0) {
        go_on(here().scheduler);
    }
}

// what the thread at a place brought to the meeting that has just ended
template <typename T> T brought_by(const meeting & m, unsigned place) {
    T x;
    memcpy(&x, m.brought[(m.generation - 1) & 1][place].bytes, sizeof(x));
    return x;
}

inline unsigned  lane()      { return threadIdx.x % WARP; }
inline meeting & this_warp() { return here().warps[threadIdx.x/WARP]; }

template <typename T> const meeting & warp_meets(const char * purpose, const T & mine) {
    static_assert(sizeof(T) <= sizeof(meeting::luggage::bytes));
    meet(this_warp(), lane(), purpose, &mine, sizeof(mine));
    return this_warp();
}

inline void run_fiber() {
    block & b = here();
    (*b.kernel)();
    b.current->done = true;
    go_on(b.scheduler);
}

inline void resume(unsigned i) {
    block & b = here();
    fiber & f = *b.fibers[i];
    b.current = &f;
    threadIdx = { i, 0, 0 };
    f.waits_for = nullptr;
    if (__builtin_setjmp(b.scheduler) != 0) {
        return;
    }
    if (f.started) {
        go_on(f.here);
    }
    f.started = true;
    getcontext(&f.start);
    f.start.uc_stack.ss_sp   = f.stack.get();
    f.start.uc_stack.ss_size = STACK;
    makecontext(&f.start, run_fiber, 0);
    setcontext(&f.start);
}

// Warps that go on for a while; now and then all of them. Without it none would get far ahead of another.
struct awake {
    unsigned warps = ~0u, passes = 0;

    void next(std::mt19937 & random) {
        if (passes-- == 0) {
            passes = random() % 400;
            warps  = random() % 3 == 0 ? ~0u : (unsigned) random();
        }
    }
};

inline void run_block(unsigned threads, const std::function<void()> & kernel) {
    block & b = here();
    blockDim = { threads, 1, 1 };
    b.kernel = &kernel;
    memset(shared(), 0xFF, shared_size()); // not numbers
    memset(shared() + shared_size(), GUARD, SHARED_BYTES - shared_size());
    while (b.fibers.size() < threads) {
        b.fibers.push_back(std::make_unique<fiber>());
    }
    for (unsigned i = 0; i < threads; ++i) {
        fiber & f = *b.fibers[i];
        f.started = f.done = false;
        f.waits_for = nullptr;
        f.open.clear();
        f.groups.clear();
    }
    b.warps.resize(threads/WARP);
    for (meeting & m : b.warps) {
        m.expect(WARP);
    }
    b.teams.clear();
    b.all.expect(threads);

    awake now;
    for (unsigned left = threads; left > 0;) {
        const unsigned first = b.random() % threads, step = b.random() % 2 ? 1 : threads - 1;
        bool any = false, asleep = false;
        now.next(b.random);
        for (unsigned k = 0, i = first; k < threads; ++k, i = (i + step) % threads) {
            if (!b.fibers[i]->can_go_on()) {
                continue;
            }
            if (now.warps >> i/WARP & 1) {
                resume(i);
                any   = true;
                left -= b.fibers[i]->done;
            } else {
                asleep = true;
            }
        }
        if (!any && asleep) {
            now.passes = 0;
        } else if (!any) {
            fail("threads wait for some that do not come: ", b.all.arrived > 0 ? b.all.purpose : "an instruction of a warp");
        }
    }
    for (size_t i = shared_size(); i < SHARED_BYTES; ++i) {
        if ((unsigned char) shared()[i] != GUARD) {
            fail("writes behind its shared memory");
        }
    }
}

template <typename F, typename... A> void launch(F kernel, const dim3 & grid, unsigned threads, size_t shared_bytes, const A &... args) {
    gridDim = grid;
    shared_size() = shared_bytes;
    std::vector<unsigned> order(grid.x*grid.y*grid.z);
    for (unsigned i = 0; i < order.size(); ++i) {
        order[i] = i;
    }
    std::shuffle(order.begin(), order.end(), here().random); // nobody promises an order of blocks
    for (unsigned i : order) {
        blockIdx = { i % grid.x, i/grid.x % grid.y, i/grid.x/grid.y };
        run_block(threads, [&] { kernel(args...); });
    }
}

} // namespace emulation

inline void __syncthreads() { emulation::meet(emulation::here().all, threadIdx.x, "__syncthreads"); }
inline void __syncwarp()    { emulation::meet(emulation::this_warp(), emulation::lane(), "__syncwarp"); }

inline int __syncthreads_count(int mine) {
    emulation::meeting & m = emulation::here().all;
    emulation::meet(m, threadIdx.x, "__syncthreads_count", &mine, sizeof(mine));
    int n = 0;
    for (unsigned i = 0; i < m.members; ++i) {
        n += emulation::brought_by<int>(m, i) != 0;
    }
    return n;
}
inline bool __syncthreads_and(int mine) { return __syncthreads_count(mine) == (int) emulation::here().all.members; }

template <typename T> T __shfl_sync(unsigned, T mine, int lane) {
    return emulation::brought_by<T>(emulation::warp_meets("__shfl_sync", mine), lane % 32);
}
template <typename T> T __shfl_up_sync(unsigned, T mine, int by) {
    const int lane = emulation::lane();
    return emulation::brought_by<T>(emulation::warp_meets("__shfl_up_sync", mine), lane >= by ? lane - by : lane);
}
template <typename T> T __shfl_down_sync(unsigned, T mine, int by) {
    const int lane = emulation::lane();
    return emulation::brought_by<T>(emulation::warp_meets("__shfl_down_sync", mine), lane + by < 32 ? lane + by : lane);
}
template <typename T> T __shfl_xor_sync(unsigned, T mine, int by) {
    return emulation::brought_by<T>(emulation::warp_meets("__shfl_xor_sync", mine), emulation::lane() ^ by);
}
inline unsigned __ballot_sync(unsigned, bool mine) {
    const emulation::meeting & m = emulation::warp_meets("__ballot_sync", mine);
    unsigned all = 0;
    for (int lane = 0; lane < 32; ++lane) {
        all |= (unsigned) emulation::brought_by<bool>(m, lane) << lane;
    }
    return all;
}
inline bool __any_sync(unsigned mask, bool mine) { return __ballot_sync(mask, mine) != 0; }
inline int  __reduce_add_sync(unsigned, int mine) {
    const emulation::meeting & m = emulation::warp_meets("__reduce_add_sync", mine);
    int sum = 0;
    for (int lane = 0; lane < 32; ++lane) {
        sum += emulation::brought_by<int>(m, lane);
    }
    return sum;
}

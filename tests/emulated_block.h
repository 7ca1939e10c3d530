// A block of CUDA threads on a CPU: every thread is one, barriers are barriers, and a shuffle is a meeting of 32. Slow, and enough to
// run what threads of a block agree on where there is no card.

#pragma once

#include <barrier>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

struct emulated_index { unsigned x, y, z; };

inline thread_local emulated_index threadIdx;
inline emulated_index              blockDim, blockIdx, gridDim;

inline std::unique_ptr<std::barrier<>>              emulated_block_barrier;
inline std::vector<std::unique_ptr<std::barrier<>>> emulated_warp_barriers;
inline std::vector<uint64_t>                        emulated_lanes;

inline void __syncthreads() { emulated_block_barrier->arrive_and_wait(); }

template <typename T> T emulated_shuffle(T mine, int lane) {
    const unsigned warp = threadIdx.x/32;
    T theirs;
    memcpy(&emulated_lanes[threadIdx.x], &mine, sizeof(mine));
    emulated_warp_barriers[warp]->arrive_and_wait();
    memcpy(&theirs, &emulated_lanes[warp*32 + lane], sizeof(theirs));
    emulated_warp_barriers[warp]->arrive_and_wait();
    return theirs;
}

template <typename T> T __shfl_up_sync(unsigned, T mine, int by) {
    const int lane = threadIdx.x % 32;
    return emulated_shuffle(mine, lane >= by ? lane - by : lane);
}

template <typename T> T __shfl_down_sync(unsigned, T mine, int by) {
    const int lane = threadIdx.x % 32;
    return emulated_shuffle(mine, lane + by < 32 ? lane + by : lane);
}

template <typename T> T __shfl_xor_sync(unsigned, T mine, int by) {
    return emulated_shuffle(mine, (int) (threadIdx.x % 32) ^ by);
}

inline unsigned __ballot_sync(unsigned, bool mine) {
    const unsigned warp = threadIdx.x/32;
    unsigned all = 0;
    emulated_lanes[threadIdx.x] = mine;
    emulated_warp_barriers[warp]->arrive_and_wait();
    for (int lane = 0; lane < 32; ++lane) {
        all |= (unsigned) emulated_lanes[warp*32 + lane] << lane;
    }
    emulated_warp_barriers[warp]->arrive_and_wait();
    return all;
}

inline void run_block(unsigned threads, const std::function<void()> & kernel) {
    blockDim.x             = threads;
    emulated_block_barrier = std::make_unique<std::barrier<>>(threads);
    emulated_warp_barriers.clear();
    for (unsigned warp = 0; warp < threads/32; ++warp) {
        emulated_warp_barriers.push_back(std::make_unique<std::barrier<>>(32));
    }
    emulated_lanes.assign(threads, 0);

    std::vector<std::thread> running;
    for (unsigned i = 0; i < threads; ++i) {
        running.emplace_back([i, &kernel] {
            threadIdx.x = i;
            kernel();
        });
    }
    for (std::thread & one : running) {
        one.join();
    }
}

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(n)
#define __shared__ static // one block at a time

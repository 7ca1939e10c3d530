// What fattn-art.cu needs of the CUDA backend.

#pragma once

#include "ggml-art.h"
#include "ggml-backend-impl.h"
#include "ggml-cuda.h"
#include "ggml-impl.h"

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <vector>

#define CUDA_CHECK(x) GGML_ASSERT((x) == cudaSuccess)

#define GGML_CUDA_CC_AMPERE       800
#define GGML_CUDA_CC_IS_NVIDIA(x) true

struct ggml_cuda_device_info {
    int device_count = 4;
    struct { int cc = GGML_CUDA_CC_AMPERE; } devices[4];
};
inline const ggml_cuda_device_info & ggml_cuda_info() {
    static const ggml_cuda_device_info info;
    return info;
}
inline int ggml_cuda_highest_compiled_arch(int cc) { return cc; }

struct ggml_cuda_pool {};
template <typename T> struct ggml_cuda_pool_alloc {
    static constexpr size_t GUARDED = 64;
    size_t n;
    std::vector<T> bytes;

    ggml_cuda_pool_alloc(ggml_cuda_pool &, size_t n) : n(n), bytes(n + 2*GUARDED, (T) emulation::GUARD) { memset(get(), 0xFF, n); }
    ~ggml_cuda_pool_alloc() {
        for (size_t i = 0; i < GUARDED; ++i) {
            if ((unsigned char) get()[n + i] != emulation::GUARD) {
                emulation::fail("writes behind its workspace");
            }
        }
    }
    T * get() { return (T *) (((uintptr_t) bytes.data() + GUARDED - 1)/GUARDED*GUARDED); }
};

struct ggml_backend_cuda_context {
    int            device = 0;
    ggml_cuda_pool one_pool;

    cudaStream_t     stream() { return nullptr; }
    ggml_cuda_pool & pool()   { return one_pool; }
};


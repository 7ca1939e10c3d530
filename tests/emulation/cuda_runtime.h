// What the kernels use of CUDA, for a block of fibers: words of the language, types, functions of the device and of the host.

#pragma once

#include <algorithm>

#include "block.h"

#include <cmath>

#define __CUDA_ARCH__ 800
#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static // one block at a time

struct alignas( 8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4  { unsigned x, y, z, w; };
struct alignas( 4) char4  { signed char x, y, z, w; };
struct alignas( 2) char2  { signed char x, y; };

inline float2 make_float2(float x, float y)                                                 { return { x, y }; }
inline float4 make_float4(float x, float y, float z, float w)                               { return { x, y, z, w }; }
inline uint4  make_uint4 (unsigned x, unsigned y, unsigned z, unsigned w)                   { return { x, y, z, w }; }
inline char4  make_char4 (signed char x, signed char y, signed char z, signed char w)       { return { x, y, z, w }; }
inline char2  make_char2 (signed char x, signed char y)                                     { return { x, y }; }

template <typename A, typename B> auto min(A a, B b) { using C = std::common_type_t<A, B>; return (C) b < (C) a ? (C) b : (C) a; }
template <typename A, typename B> auto max(A a, B b) { using C = std::common_type_t<A, B>; return (C) a < (C) b ? (C) b : (C) a; }

inline float    __fdiv_rn(float x, float y)     { return x/y; }
inline float    __fsub_rn(float x, float y)     { return x - y; }
inline float    __fmul_rn(float x, float y)     { return x*y; }
inline float    __fsqrt_rn(float x)             { return sqrtf(x); }
inline float    __fdividef(float x, float y)    { return x/y; }
inline double   __ddiv_rn(double x, double y)   { return x/y; }
inline double   __dsqrt_rn(double x)            { return sqrt(x); }
inline float    __log2f(float x)                { return log2f(x); }
inline int      __float2int_rn(float x)         { return (int) rintf(x); }
inline unsigned __float_as_uint(float x)        { unsigned y; memcpy(&y, &x, 4); return y; }
inline float    __uint_as_float(unsigned x)     { float y; memcpy(&y, &x, 4); return y; }
inline float    __int_as_float(int x)           { float y; memcpy(&y, &x, 4); return y; }
inline int      __popc(unsigned x)              { return __builtin_popcount(x); }
inline int      __popcll(unsigned long long x)  { return __builtin_popcountll(x); }
inline int      __ffs(unsigned x)               { return __builtin_ffs(x); }
inline int      __ffsll(unsigned long long x)   { return __builtin_ffsll(x); }

inline unsigned __byte_perm(unsigned x, unsigned y, unsigned select) {
    const uint64_t bytes = (uint64_t) y << 32 | x;
    unsigned r = 0;
    for (int i = 0; i < 4; ++i) {
        r |= (unsigned) (bytes >> 8*(select >> 4*i & 7) & 0xFF) << 8*i;
    }
    return r;
}
inline unsigned __vcmpne2(unsigned a, unsigned b) {
    return ((a ^ b) & 0xFFFFu ? 0xFFFFu : 0u) | ((a ^ b) >> 16 ? 0xFFFF0000u : 0u);
}

template <typename T> T __ldg (const T * p) { return *p; }
template <typename T> T __ldcg(const T * p) { return *p; }
template <typename T> T atomicAdd(T * p, T x) { const T was = *p; *p += x; return was; }
template <typename T> T atomicOr (T * p, T x) { const T was = *p; *p |= x; return was; }

inline uint32_t __cvta_generic_to_shared(const void * p) { return (uint32_t) ((const char *) p - emulation::shared()); }
[[noreturn]] inline void __trap() { emulation::fail("trap"); }

// ---------------------------------------------------------------------------------------------------------------------
// host: a card with so many multiprocessors and so much shared memory as EMULATED_MULTIPROCESSORS and EMULATED_SHARED_KB say

using cudaStream_t = void *;
enum cudaError_t { cudaSuccess, cudaErrorInvalidValue };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMemoryClockRate, cudaDevAttrGlobalMemoryBusWidth };

inline cudaError_t cudaDeviceGetAttribute(int * value, cudaDeviceAttr what, int) {
    const char * sms = getenv("EMULATED_MULTIPROCESSORS"), * kb = getenv("EMULATED_SHARED_KB");
    switch (what) {
        case cudaDevAttrMultiProcessorCount:          *value = sms ? atoi(sms) : 82;            break; // as a 3090
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (kb ? atoi(kb) : 99)*1024;       break;
        case cudaDevAttrMemoryClockRate:              *value = 9751000;                         break;
        case cudaDevAttrGlobalMemoryBusWidth:         *value = 384;                             break;
    }
    return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int) { return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
template <typename T> cudaError_t cudaGetSymbolAddress(void ** p, T & symbol) { *p = (void *) &symbol; return cudaSuccess; }
inline cudaError_t cudaMemsetAsync(void * p, int value, size_t n, cudaStream_t) { memset(p, value, n); return cudaSuccess; }

// half as the kernels use it: an operation in float, rounded once

#pragma once

#include <cstring>
#include <vector>

using half = _Float16;
struct alignas(4) half2 { half x, y; };

inline unsigned short __half_as_ushort(half x)           { unsigned short y; memcpy(&y, &x, 2); return y; }
inline half           __ushort_as_half(unsigned short x) { half y; memcpy(&y, &x, 2); return y; }

inline float __half2float(half x) { // looked up: compilers may call a function for each
    static const std::vector<float> all = [] {
        std::vector<float> y(1 << 16);
        for (int i = 0; i < 1 << 16; ++i) {
            y[i] = (float) __ushort_as_half((unsigned short) i);
        }
        return y;
    }();
    return all[__half_as_ushort(x)];
}
inline half           __float2half(float x)              { return (half) x; }
inline half           __float2half_rn(float x)           { return (half) x; }
inline half           __hneg(half x)                     { return -x; }

inline half2 __half2half2(half x)                     { return { x, x }; }
inline half2 __float2half2_rn(float x)                { return { (half) x, (half) x }; }
inline half2 __floats2half2_rn(float x, float y)      { return { (half) x, (half) y }; }
inline float __low2float(half2 x)                     { return __half2float(x.x); }
inline float __high2float(half2 x)                    { return __half2float(x.y); }
inline half2 __hmul2(half2 a, half2 b)                { return { (half) (__half2float(a.x)*__half2float(b.x)), (half) (__half2float(a.y)*__half2float(b.y)) }; }
inline half2 __hsub2(half2 a, half2 b)                { return { (half) (__half2float(a.x) - __half2float(b.x)), (half) (__half2float(a.y) - __half2float(b.y)) }; }
inline half2 __hfma2(half2 a, half2 b, half2 c) {
    return { (half) (__half2float(a.x)*__half2float(b.x) + __half2float(c.x)), (half) (__half2float(a.y)*__half2float(b.y) + __half2float(c.y)) };
}

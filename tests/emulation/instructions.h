// The instructions of fattn-art-kernel.cuh, lane by lane. Fragments are laid out as the PTX manual has them.

#pragma once

static void land(const emulation::copy & c) {
    if (c.from) {
        memcpy(c.to, c.from, 16);
    } else {
        memset(c.to, 0, 16);
    }
}
static void copy16_async_or_zero(uint32_t to, const char * from, bool valid) {
    if (to % 16 != 0 || (uintptr_t) from % 16 != 0) {
        emulation::fail("a copy that is not aligned");
    }
    const emulation::copy c = { emulation::shared() + to, valid ? from : nullptr };
    if (emulation::here().random() % 2) { // nobody promises when: between now and the end of the wait
        land(c);
    } else {
        emulation::here().current->open.push_back(c);
    }
}
static void copy16_async(uint32_t to, const char * from) { copy16_async_or_zero(to, from, true); }
static void copy_commit() {
    emulation::fiber & f = *emulation::here().current;
    f.groups.push_back(std::move(f.open));
    f.open.clear();
}
template <int N> static void copy_wait() { // until the last N groups alone are under way
    std::vector<std::vector<emulation::copy>> & groups = emulation::here().current->groups;
    while (groups.size() > N) {
        for (const emulation::copy & c : groups.front()) {
            land(c);
        }
        groups.erase(groups.begin());
    }
}
template <int HC> static void team_sync(int team) {
    if (HC == 1) {
        __syncwarp();
        return;
    }
    emulation::meeting & m = emulation::here().teams[team];
    if (m.members == 0) {
        m.expect(HC*32);
    }
    emulation::meet(m, threadIdx.x % (HC*32), "bar.sync");
}

constexpr int   INT_BIAS   = 0x4B400000;
constexpr float FLOAT_BIAS = 12582912.0f;

struct mma_operands { uint32_t a[4], b[2]; };

static void mma_i8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    const emulation::meeting & m = emulation::warp_meets("mma_i8", mma_operands{ { a[0], a[1], a[2], a[3] }, { b[0], b[1] } });
    const int g = emulation::lane()/4, tq = emulation::lane() % 4;
    for (int i = 0; i < 4; ++i) { // row g or g + 8, column 2*tq or the next
        d[i] = INT_BIAS;
        for (int t = 0; t < 4; ++t) {
            const mma_operands row = emulation::brought_by<mma_operands>(m, 4*g + t), column = emulation::brought_by<mma_operands>(m, 4*(2*tq + i % 2) + t);
            for (int half_ = 0; half_ < 2; ++half_) {
                for (int j = 0; j < 32; j += 8) {
                    d[i] += (int) (int8_t) (row.a[i/2 + 2*half_] >> j)*(int) (int8_t) (column.b[half_] >> j);
                }
            }
        }
    }
}
static uint32_t signed_codes(uint32_t x) { return (x ^ 0x80808080u) & 0xF0F0F0F0u; }

static half half_of(uint32_t word, int i) { return __ushort_as_half((unsigned short) (word >> 16*i)); }

static void mma_f16(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
    const emulation::meeting & m = emulation::warp_meets("mma_f16", mma_operands{ { a0, a1, a2, a3 }, { b0, b1 } });
    const int g = emulation::lane()/4, tq = emulation::lane() % 4;
    for (int i = 0; i < 4; ++i) {
        for (int t = 0; t < 4; ++t) {
            const mma_operands row = emulation::brought_by<mma_operands>(m, 4*g + t), column = emulation::brought_by<mma_operands>(m, 4*(2*tq + i % 2) + t);
            for (int half_ = 0; half_ < 2; ++half_) {
                for (int j = 0; j < 2; ++j) {
                    d[i] += __half2float(half_of(row.a[i/2 + 2*half_], j))*__half2float(half_of(column.b[half_], j));
                }
            }
        }
    }
}

template <bool TRANS> static void load_8x8x4(uint32_t (&x)[4], const void * p) {
    if ((uintptr_t) p % 16 != 0) {
        emulation::fail("a row of a matrix that is not aligned");
    }
    const emulation::meeting & m = emulation::warp_meets("ldmatrix", (const char *) p);
    const int lane = emulation::lane();
    for (int matrix = 0; matrix < 4; ++matrix) {
        unsigned short pair[2];
        for (int j = 0; j < 2; ++j) {
            const int row = TRANS ? lane % 4*2 + j : lane/4, column = TRANS ? lane/4 : lane % 4*2 + j;
            memcpy(&pair[j], emulation::brought_by<const char *>(m, 8*matrix + row) + 2*column, 2);
        }
        x[matrix] = pair[0] | (uint32_t) pair[1] << 16;
    }
    __syncwarp(); // nobody writes what another still reads
}
static uint32_t transpose_8x8(uint32_t mine) {
    const emulation::meeting & m = emulation::warp_meets("movmatrix", mine);
    const int row = emulation::lane()/4;
    uint32_t r = 0;
    for (int j = 0; j < 2; ++j) {
        const int column = emulation::lane() % 4*2 + j; // element (column, row)
        r |= (emulation::brought_by<uint32_t>(m, 4*column + row/2) >> 16*(row % 2) & 0xFFFFu) << 16*j;
    }
    return r;
}
static float exp2_fast(float x) { return exp2f(x); }

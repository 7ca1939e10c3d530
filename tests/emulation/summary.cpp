// Frames, records and framed queries of the CUDA kernels, made by blocks of emulated threads, beside those of ggml-art-summary.h.

#include "fattn-art-kernel.cuh"

#include "ggml-art-summary.h"

#undef  GGML_ART_MEASURED
#define GGML_ART_MEASURED 2 // as test_cuda_emulated.py has it

#include <random>

using namespace art;

static const ggml_type types[] = { GGML_TYPE_Q4_0, GGML_TYPE_Q8_0, GGML_TYPE_F16 };
static int wrong = 0;

struct cache {
    int D, n_head = 2, n_stream = 2, n_cell, n_tile;
    kv_type kind;
    std::vector<char> k, summaries;
    summarize_args a = {};

    cache(kv_type kind, int D, int n_cell, std::mt19937 & random) : D(D), n_cell(n_cell), n_tile((n_cell + TILE - 1)/TILE), kind(kind) {
        a.head_size  = D;
        a.head_bytes = (int) ggml_row_size(types[kind], D);
        a.k_cell     = n_head*a.head_bytes;
        a.record_bytes   = (int) ggml_art_record_size(D);
        a.frame_bytes    = (int) (ggml_art_n_records(D, 0)*a.record_bytes);
        a.n_kv_heads     = n_head;
        a.n_streams      = n_stream;
        a.n_stream_cells = n_cell;
        a.n_stream_tiles = n_tile;
        a.summary_stream = (int64_t) ggml_art_n_records(D, n_cell)*n_head*a.record_bytes;
        a.rotation = (int) ggml_art_rotation(D);
        a.rotated  = ggml_art_rotated(types[kind], D);

        // channels that differ in what they have in common and in how much they vary
        k.resize(n_stream*n_cell*a.k_cell);
        summaries.assign(n_stream*a.summary_stream, 0x5A);
        std::normal_distribution<float> normal;
        std::vector<float> offset(D), size(D), row(D);
        for (int c = 0; c < D; ++c) { offset[c] = c % 7 == 0 ? 20*normal(random) : normal(random); size[c] = expf(normal(random)); }
        for (int i = 0; i < n_stream*n_cell*n_head; ++i) {
            for (int c = 0; c < D; ++c) { row[c] = offset[c] + size[c]*normal(random); }
            if (a.rotated) { ggml_art_rotate(row.data(), D); }
            ggml_quantize_chunk(types[kind], row.data(), k.data() + (size_t) i*a.head_bytes, 0, 1, D, nullptr);
        }
        a.k = k.data();
        a.summaries = summaries.data();
    }

    int load(int stream, int tile, int head, float * x) const {
        const int n = std::min(TILE, n_cell - tile*TILE);
        for (int i = 0; i < n; ++i) {
            ggml_get_type_traits(types[kind])->to_float(k.data() + ((size_t) stream*n_cell + tile*TILE + i)*a.k_cell + head*a.head_bytes, x + i*D, D);
        }
        return n;
    }
};

template <kv_type T> static void run(cache & c) {
    if (c.a.n_measured >= 0) {
        for (unsigned i = 0; i < (unsigned) (c.n_head*c.n_stream); ++i) {
            blockIdx = { i % c.n_head, i/c.n_head, 0 };
            emulation::run_block(c.D, [&] { measure<T>(c.a); });
        }
    }
    const int items = c.a.cells ? c.a.n_cells : c.n_stream*c.n_tile;
    gridDim = { (unsigned) c.n_head, (unsigned) items, 1 };
    for (unsigned i = 0; i < (unsigned) (c.n_head*items); ++i) {
        blockIdx = { i % c.n_head, i/c.n_head, 0 };
        emulation::run_block(c.D, [&] { summarize<T>(c.a); });
    }
}

static std::vector<char> expected(const cache & c, std::vector<char> was) {
    std::vector<float> x(TILE*c.D);
    for (int s = 0; s < c.n_stream; ++s) {
        for (int h = 0; h < c.n_head; ++h) {
            char * first = was.data() + s*c.a.summary_stream, * stored = first + ((size_t) c.n_tile*c.n_head*c.a.record_bytes) + h*c.a.frame_bytes;
            if (c.a.n_measured >= 0) {
                ggml_art_measured measured = {};
                const int64_t n_tile = c.a.n_measured/TILE, n = std::min<int64_t>(n_tile, GGML_ART_MEASURED);
                for (int64_t i = 0; i < n; ++i) {
                    c.load(s, (int) ggml_art_measured_tile(i, n, n_tile), h, x.data());
                    ggml_art_measure_keys(&measured, x.data(), c.D, c.a.rotated, TILE);
                }
                ggml_art_store_frame(&measured, c.D, stored);
            }
            ggml_art_frame frame;
            ggml_art_load_frame(stored, types[c.kind], c.D, &frame);
            for (int t = 0; t < c.n_tile; ++t) {
                bool due = c.a.cells == nullptr;
                for (int i = 0; i < c.a.n_cells; ++i) { due = due || (c.a.cells[i] >= 0 && c.a.cells[i]/c.n_cell == s && c.a.cells[i] % c.n_cell/TILE == t); }
                if (due) {
                    const int n = c.load(s, t, h, x.data());
                    ggml_art_enter_frame(&frame, x.data(), c.D, n);
                    ggml_art_encode(x.data(), c.D, n, first + ((size_t) t*c.n_head + h)*c.a.record_bytes);
                }
            }
        }
    }
    return was;
}

template <kv_type T> static void check(cache & c, const char * what) {
    const std::vector<char> want = expected(c, c.summaries);
    run<T>(c);
    size_t differ = 0;
    for (size_t i = 0; i < want.size(); ++i) { differ += want[i] != c.summaries[i]; }
    if (differ > 0) {
        printf("type %d, D %d, %s: %zu of %zu bytes differ\n", (int) T, c.D, what, differ, want.size());
        ++wrong;
    }
}

template <kv_type T, int D> static void queries(cache & c, std::mt19937 & random) {
    std::normal_distribution<float> normal;
    std::vector<float> q(2*5*D);
    for (float & x : q) { x = normal(random); }
    attn_args a = {};
    a.frames         = c.summaries.data() + (size_t) c.n_tile*c.n_head*c.a.record_bytes;
    a.summary_stream = c.a.summary_stream;
    a.frame_bytes    = c.a.frame_bytes;
    a.rotation       = c.a.rotation;
    a.rotated        = c.a.rotated;
    a.scale          = 0.125f;
    a.n_streams      = 2, a.n_rows = 1, a.n_col_blocks = 1, a.group = a.n_cols = 5;
    a.q              = (const char *) q.data();
    a.q_head         = D*sizeof(float);
    const int stream = 1, head = 1;
    blockIdx = { head, 0, stream };
    static rank_area<D> area;
    emulation::run_block(128, [&] { frame_queries<D>(a, problem<1>(a), area); });

    ggml_art_frame frame;
    ggml_art_load_frame(a.frames + stream*a.summary_stream + head*a.frame_bytes, types[T], D, &frame);
    double worst = 0.0;
    for (int col = 0; col < COLUMNS; ++col) {
        float x[D];
        double square = 0.0, kept = 0.0, error = 0.0;
        for (int d = 0; d < D; ++d) { x[d] = col < 5 ? q[(5*head + col)*D + d]*a.scale*LOG2E : 0.0f; }
        if (frame.rotated) { ggml_art_rotate(x, D); }
        for (int d = 0; d < D; ++d) { x[d] *= frame.size[d]; }
        ggml_art_rotate(x, D);
        for (int d = 0; d < D; ++d) {
            square += x[d]*x[d];
            error  += pow(x[d] - area.scale[col][d/32]*area.q[col][d], 2);
        }
        for (int b = 0; b < D/32; ++b) { kept += area.square[col][b]; }
        worst = std::max(worst, fabs(kept - square)/(square + 1e-9));
        worst = std::max(worst, error/(square + 1e-9)/0.1); // 8 bits: 1e-4 at most
    }
    if (!(worst < 1e-3)) {
        printf("type %d, D %d: queries are off by %g\n", (int) T, D, worst);
        ++wrong;
    }
}

template <kv_type T, int D> static int cases(std::mt19937 & random, bool attends) {
    cache c(T, D, 29, random);
    c.a.n_measured = 0;
    check<T>(c, "no frame");
    c.a.n_measured = 26;
    check<T>(c, "a frame");
    if (T == KV_F16) {
        const unsigned short nan = 0x7E00;
        memcpy(&c.k[2*c.a.k_cell + 6], &nan, 2);
        check<T>(c, "a key that is not a number");
    }
    std::vector<int64_t> cells = { 17, 18, 28, 29 + 3, -1 };
    c.a.n_measured = -1;
    c.a.cells = cells.data(), c.a.n_cells = (int) cells.size();
    std::swap_ranges(c.k.begin(), c.k.begin() + c.k.size()/2, c.k.begin() + c.k.size()/2);
    check<T>(c, "cells just written");
    if constexpr (D == 64 || D == 128 || D == 256) {
        if (attends) { queries<T, D>(c, random); }
    }
    return 3 + attends + (T == KV_F16);
}

int main() {
    std::mt19937 random(1);
    int n = 0;
    n += cases<KV_Q8_0,  64>(random, true);
    n += cases<KV_Q4_0, 128>(random, true);
    n += cases<KV_F16,   64>(random, true);
    n += cases<KV_Q8_0,  96>(random, false);
    n += cases<KV_Q8_0, 256>(random, true);
    printf("%d cases, %d wrong\n", n, wrong);
    return wrong != 0;
}

// The sample of the CUDA kernels, drawn by a block of emulated threads, beside the same drawn in one loop, as the CPU does it.

#include "fattn-art-kernel.cuh"

#include <random>

using namespace art;

static const uint32_t UNTOUCHED = 0xdead;

// candidates in the order of their keys, whose ranks lie so far apart
static std::vector<uint32_t> candidates(std::mt19937 & random, int n, float apart, bool giant) {
    std::vector<uint32_t> keys(n);
    for (uint32_t & key : keys) {
        const float rank = 61000 - apart*std::uniform_real_distribution<float>(0, 1)(random);
        key = (uint32_t) (giant ? 1000 : rank) << 16 | (random() & 0xFFFE) | 1;
    }
    if (giant) {
        keys[0] = 61000u << 16 | 1;
    }
    std::sort(keys.rbegin(), keys.rend());
    return keys;
}

static std::vector<uint32_t> drawn_in_one_loop(const std::vector<uint32_t> & keys, int n, double & step) {
    const auto chance = [&](uint32_t key) { return exp2(1.5/1024*((int) (key >> 16) - (int) (keys[0] >> 16))); };
    double total = 0.0, sum = 0.0;
    for (uint32_t key : keys) {
        total += chance(key);
    }
    step = total/n;
    double next = step/2;
    std::vector<uint32_t> picks;
    for (uint32_t key : keys) {
        sum += chance(key);
        if (sum > next) {
            while (next < sum) {
                next += step;
            }
            picks.push_back(key);
        }
    }
    return picks;
}

int main() {
    std::mt19937 random(1);
    int cases = 0, wrong = 0, others = 0, all = 0;
    for (unsigned warps : { 4, 9, 16 }) {
        for (int n_rest : { 1, 2, 15, 31, 33, 127, 128, 129, 222, 1000, 4000 }) {
            for (float apart : { 0.0f, 300.0f, 3000.0f, -1.0f }) { // -1: one that outweighs all the others
                const std::vector<uint32_t> keys = candidates(random, n_rest, std::max(apart, 0.0f), apart < 0);
                const int n = std::max(1, n_rest/16);
                double step;
                const std::vector<uint32_t> expected = drawn_in_one_loop(keys, n, step);

                std::vector<uint32_t> picks(512, UNTOUCHED), drawn;
                std::vector<float>    sums(warps), steps(warps*32);
                emulation::run_block(warps*32, [&] { steps[threadIdx.x] = draw_sample(keys.data(), n_rest, n, picks.data(), sums.data()); });
                std::copy_if(picks.begin(), picks.begin() + n, std::back_inserter(drawn), [](uint32_t key) { return key != 0; });

                bool same = drawn.size() == expected.size() && picks[n] == UNTOUCHED && std::is_sorted(drawn.rbegin(), drawn.rend());
                for (float one : steps) {
                    same = same && std::fabs(one/step - 1) < 1e-5;
                }
                for (size_t i = 0; same && i < drawn.size(); ++i) {
                    others += drawn[i] != expected[i]; // rounding decides between neighbours
                }
                ++cases;
                wrong += !same;
                all   += (int) expected.size();
            }
        }
    }
    printf("%d cases, %d wrong, %d picks, %d of them others\n", cases, wrong, all, others);
    return wrong != 0 || others*100 > all;
}

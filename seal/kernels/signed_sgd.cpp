// The signed step on a CPU: one parallel loop over the blocks of every tensor of every group.
// Built by signed_sgd_compiled.py with -ffp-contract=off; the only contractions are the std::fma written here,
// so that the vector body and the scalar tail round alike.
#include <algorithm>
#include <cmath>
#include <cstdint>

using std::int32_t, std::int64_t;

struct Addresses { void *p, *g, *m; int64_t size, group; };  // m is null where momentum is 0
struct Block { int32_t tensor, index; };
struct Numbers { double lr, momentum, weight_decay, sign; };

constexpr int64_t kBlock = 4096, kLineBytes = 64, kPrefetchBytes = 2048;

template <typename T, bool kMomentum>
static void update(const Addresses& t, int64_t i, int64_t end, const Numbers& numbers, const float* grad_scale) {
    T *p = static_cast<T*>(t.p), *g = static_cast<T*>(t.g), *m = static_cast<T*>(t.m);
    const T lr = numbers.lr, mu = numbers.momentum, wd = numbers.weight_decay, s = numbers.sign;
    const auto element = [=](int64_t k) {
        T d = wd != 0 ? std::fma(wd, p[k], s * g[k]) : s * g[k];
        if constexpr (kMomentum) m[k] = d = std::fma(mu, m[k], d);
        p[k] = std::fma(-lr, d, p[k]);
    };
    if (grad_scale)
        for (int64_t k = i; k < end; ++k) g[k] /= static_cast<T>(*grad_scale);
    constexpr int64_t line = kLineBytes / sizeof(T), ahead = kPrefetchBytes / sizeof(T);
    for (; i + line <= end; i += line) {
        __builtin_prefetch(p + i + ahead, 0, 2);  // into the second cache: 4% faster than without
        __builtin_prefetch(g + i + ahead, 0, 2);
        if constexpr (kMomentum) __builtin_prefetch(m + i + ahead, 0, 2);
#pragma omp simd
        for (int64_t k = i; k < i + line; ++k) element(k);
    }
    for (; i < end; ++i) element(i);
}

template <typename T>
static void signed_sgd(const Addresses* tensors, const Block* blocks, int64_t count, const Numbers* numbers,
                       const float* grad_scale, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < count; ++b) {
        const Addresses& t = tensors[blocks[b].tensor];
        const int64_t begin = blocks[b].index * kBlock, end = std::min(begin + kBlock, t.size);
        (t.m ? update<T, true> : update<T, false>)(t, begin, end, numbers[t.group], grad_scale);
    }
}

extern "C" void signed_sgd_float32(const Addresses* tensors, const Block* blocks, int64_t count, const Numbers* numbers,
                                   const float* grad_scale, int threads) {
    signed_sgd<float>(tensors, blocks, count, numbers, grad_scale, threads);
}

extern "C" void signed_sgd_float64(const Addresses* tensors, const Block* blocks, int64_t count, const Numbers* numbers,
                                   const float* grad_scale, int threads) {
    signed_sgd<double>(tensors, blocks, count, numbers, grad_scale, threads);
}

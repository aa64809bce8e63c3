// Sixteen floats at a time, in the instruction set this file is compiled for, and the products of 8-bit
// weights with 8-bit activations. Included by kernels.cpp alone, inside its namespace.
//
// Activations come in words of `group` values, as they lie side by side for each output in packed weights;
// `most_rows` is how many rows of products fit the registers, `most_sums` how many sums of F beside what is
// added to them.

#if defined(__GNUC__)
#define PLUGIN_BRIDGE_UNROLL _Pragma("GCC unroll 16")
#define PLUGIN_BRIDGE_ROLLED _Pragma("GCC unroll 1")
#else
#define PLUGIN_BRIDGE_UNROLL
#define PLUGIN_BRIDGE_ROLLED
#endif

// Asks for the cache line of an address that is read soon, and may lie beyond what there is, where several rows
// or queries share what is read, so that arithmetic takes longer than reading. One reads as fast as it can
// without.
template <int sharing>
inline void prefetch_for(const void* p) {
    if constexpr (sharing >= 2) {
#if defined(__GNUC__)
        __builtin_prefetch(p);
#elif defined(PLUGIN_BRIDGE_AVX512) || defined(PLUGIN_BRIDGE_AVX2)
        _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
#else
        static_cast<void>(p);
#endif
    } else {
        static_cast<void>(p);
    }
}
constexpr std::size_t weights_ahead = 8 * lane_count * block_inputs;  // bytes of weights, as above

#if defined(PLUGIN_BRIDGE_AVX512)

constexpr std::size_t group = 4;
constexpr int most_rows = 8;
constexpr int most_sums = 16;
using F = __m512;

inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline F load_once(const float* p) { return load(p); }
inline void store(float* p, F a) { _mm512_storeu_ps(p, a); }
inline F all(float x) { return _mm512_set1_ps(x); }
inline F add(F a, F b) { return _mm512_add_ps(a, b); }
inline F subtract(F a, F b) { return _mm512_sub_ps(a, b); }
inline F multiply(F a, F b) { return _mm512_mul_ps(a, b); }
inline F divide(F a, F b) { return _mm512_div_ps(a, b); }
inline F multiply_add(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline F greater(F a, F b) { return _mm512_max_ps(a, b); }
inline F lesser(F a, F b) { return _mm512_min_ps(a, b); }
inline F magnitude(F a) { return _mm512_abs_ps(a); }
inline F nearest(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline F times_power_of_two(F a, F exponent) { return _mm512_scalef_ps(a, exponent); }
inline void store_halves(float* low, float* high, F a) {
    _mm256_storeu_ps(low, _mm512_castps512_ps256(a));
    _mm256_storeu_ps(high, _mm512_extractf32x8_ps(a, 1));
}
inline float sum(F a) { return _mm512_reduce_add_ps(a); }
inline float largest(F a) { return _mm512_reduce_max_ps(a); }

// What is left of F when lanes are added as far as costs next to nothing.
using Folded = F;
inline Folded fold(F a) { return a; }

// Lane i of the result is the sum over the lanes of rows[i].
inline F sums(const Folded* rows) {
    F quarters[4];
    for (int q = 0; q < 4; ++q) {
        const F* r = rows + 4 * q;
        const F low = add(_mm512_unpacklo_ps(r[0], r[1]), _mm512_unpackhi_ps(r[0], r[1]));
        const F high = add(_mm512_unpacklo_ps(r[2], r[3]), _mm512_unpackhi_ps(r[2], r[3]));
        const __m512d a = _mm512_castps_pd(low), b = _mm512_castps_pd(high);
        quarters[q] = add(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                          _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));  // row of each lane within 128 bits
    }
    const F even = add(_mm512_shuffle_f32x4(quarters[0], quarters[1], 0x88),
                       _mm512_shuffle_f32x4(quarters[0], quarters[1], 0xdd));
    const F odd = add(_mm512_shuffle_f32x4(quarters[2], quarters[3], 0x88),
                      _mm512_shuffle_f32x4(quarters[2], quarters[3], 0xdd));
    return add(_mm512_shuffle_f32x4(even, odd, 0x88), _mm512_shuffle_f32x4(even, odd, 0xdd));
}

// Rounds to whole numbers and keeps them as words; returns their sum.
inline std::int32_t store_words(std::int32_t* to, F a) {
    const __m512i whole = _mm512_cvtps_epi32(a);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(whole));
    return _mm512_reduce_add_epi32(whole);
}

// The products of 16 outputs x 32 inputs with words of activations [words, rows], and what they start at, as
// floats.
template <int rows>
inline void multiply_block(const std::uint8_t* weights, const std::int32_t* words, const std::int32_t* starts,
                           F* products) {
    __m512i dots[rows];
    PLUGIN_BRIDGE_UNROLL
    for (int r = 0; r < rows; ++r) {
        dots[r] = _mm512_set1_epi32(starts[r]);
    }
    PLUGIN_BRIDGE_UNROLL
    for (std::size_t g = 0; g < block_inputs / group; ++g) {
        const __m512i w = _mm512_loadu_si512(weights + g * 64);
        prefetch_for<rows>(weights + g * 64 + weights_ahead);
        PLUGIN_BRIDGE_UNROLL
        for (int r = 0; r < rows; ++r) {
            dots[r] = _mm512_dpbusd_epi32(dots[r], w, _mm512_set1_epi32(words[g * rows + r]));
        }
    }
    PLUGIN_BRIDGE_UNROLL
    for (int r = 0; r < rows; ++r) {
        products[r] = _mm512_cvtepi32_ps(dots[r]);
    }
}

#elif defined(PLUGIN_BRIDGE_AVX2)

constexpr std::size_t group = 2;
constexpr int most_rows = 4;
constexpr int most_sums = 4;
struct F {
    __m256 a, b;
};

inline F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
// Into registers. Without it GCC reads anew for each use, and reading is then all that multiplying waits for.
inline F load_once(const float* p) {
    F x = load(p);
#if defined(__GNUC__)
    asm("" : "+x"(x.a), "+x"(x.b));
#endif
    return x;
}
inline void store(float* p, F x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
inline F all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline F subtract(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline F multiply(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline F divide(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline F multiply_add(F x, F y, F z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline F greater(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F lesser(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline F magnitude(F x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline F nearest(F x) {
    constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, mode), _mm256_round_ps(x.b, mode)};
}
inline __m256 power_of_two(__m256 exponent) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
inline F times_power_of_two(F x, F exponent) {
    return multiply(x, {power_of_two(exponent.a), power_of_two(exponent.b)});
}
inline void store_halves(float* low, float* high, F x) {
    _mm256_storeu_ps(low, x.a);
    _mm256_storeu_ps(high, x.b);
}
inline float sum(F x) {
    const __m256 eight = _mm256_add_ps(x.a, x.b);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
inline float largest(F x) {
    const __m256 eight = _mm256_max_ps(x.a, x.b);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
using Folded = __m256;
inline Folded fold(F x) { return _mm256_add_ps(x.a, x.b); }
inline __m256 sums_of_eight(const Folded* rows) {
    __m256 fours[2];
    for (int half = 0; half < 2; ++half) {
        const Folded* r = rows + 4 * half;
        fours[half] = _mm256_hadd_ps(_mm256_hadd_ps(r[0], r[1]), _mm256_hadd_ps(r[2], r[3]));
    }
    return _mm256_add_ps(_mm256_permute2f128_ps(fours[0], fours[1], 0x20),
                         _mm256_permute2f128_ps(fours[0], fours[1], 0x31));
}
inline F sums(const Folded* rows) { return {sums_of_eight(rows), sums_of_eight(rows + 8)}; }

inline std::int32_t store_words(std::int32_t* to, F x) {
    const __m256i low = _mm256_cvtps_epi32(x.a), high = _mm256_cvtps_epi32(x.b);
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), both);
    alignas(32) std::int32_t sums_of_pairs[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(sums_of_pairs),
                       _mm256_madd_epi16(both, _mm256_set1_epi16(1)));
    std::int32_t total = 0;
    for (const std::int32_t each : sums_of_pairs) {
        total += each;
    }
    return total;
}

// Has the compiler add to these sums here. GCC would put it off to a block's end, where each product has to wait
// in memory: with four rows that takes half as long again.
inline void add_now(__m256i& low, __m256i& high) {
#if defined(__GNUC__)
    asm("" : "+x"(low), "+x"(high));
#else
    static_cast<void>(low);
    static_cast<void>(high);
#endif
}

template <int rows>
inline void multiply_block(const std::uint8_t* weights, const std::int32_t* words, const std::int32_t* starts,
                           F* products) {
    __m256i low[rows], high[rows];
    PLUGIN_BRIDGE_UNROLL
    for (int r = 0; r < rows; ++r) {
        low[r] = high[r] = _mm256_set1_epi32(starts[r]);
    }
    PLUGIN_BRIDGE_UNROLL
    for (std::size_t g = 0; g < block_inputs / group; ++g) {
        const auto* w = reinterpret_cast<const __m128i*>(weights + g * 32);
        if (g % 2 == 0) {
            prefetch_for<rows>(weights + g * 32 + weights_ahead);
        }
        const __m256i first = _mm256_cvtepu8_epi16(_mm_loadu_si128(w));
        const __m256i second = _mm256_cvtepu8_epi16(_mm_loadu_si128(w + 1));
        PLUGIN_BRIDGE_UNROLL
        for (int r = 0; r < rows; ++r) {
            const __m256i pair = _mm256_set1_epi32(words[g * rows + r]);
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(first, pair));
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(second, pair));
            add_now(low[r], high[r]);
        }
    }
    PLUGIN_BRIDGE_UNROLL
    for (int r = 0; r < rows; ++r) {
        products[r] = {_mm256_cvtepi32_ps(low[r]), _mm256_cvtepi32_ps(high[r])};
    }
}

#else  // any processor; the compiler makes of it what it can

constexpr std::size_t group = 4;
constexpr int most_rows = 4;
constexpr int most_sums = 4;
struct F {
    float v[lane_count];
};

template <class Operation>
inline F each(Operation operation) {
    F result;
    for (std::size_t i = 0; i < lane_count; ++i) {
        result.v[i] = operation(i);
    }
    return result;
}
inline F load(const float* p) {
    return each([=](std::size_t i) { return p[i]; });
}
inline F load_once(const float* p) { return load(p); }
inline void store(float* p, const F& a) { memcpy(p, a.v, sizeof a.v); }
inline F all(float x) {
    return each([=](std::size_t) { return x; });
}
inline F add(const F& a, const F& b) {
    return each([&](std::size_t i) { return a.v[i] + b.v[i]; });
}
inline F subtract(const F& a, const F& b) {
    return each([&](std::size_t i) { return a.v[i] - b.v[i]; });
}
inline F multiply(const F& a, const F& b) {
    return each([&](std::size_t i) { return a.v[i] * b.v[i]; });
}
inline F divide(const F& a, const F& b) {
    return each([&](std::size_t i) { return a.v[i] / b.v[i]; });
}
inline F multiply_add(const F& a, const F& b, const F& c) {
#if defined(__FP_FAST_FMAF)
    return each([&](std::size_t i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
#else
    return each([&](std::size_t i) { return a.v[i] * b.v[i] + c.v[i]; });
#endif
}
inline F greater(const F& a, const F& b) {
    return each([&](std::size_t i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline F lesser(const F& a, const F& b) {
    return each([&](std::size_t i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline F magnitude(const F& a) {
    return each([&](std::size_t i) { return a.v[i] < 0 ? -a.v[i] : a.v[i]; });
}
// Adding and taking away 1.5 * 2^23 rounds to the nearest, ties to even, for what is below 2^22.
inline F nearest(const F& a) {
    constexpr float shift = 12582912.0f;
    return each([&](std::size_t i) { return (a.v[i] + shift) - shift; });
}
inline F times_power_of_two(const F& a, const F& exponent) {
    return each([&](std::size_t i) {
        const std::int32_t bits = (static_cast<std::int32_t>(exponent.v[i]) + 127) << 23;
        float power;
        memcpy(&power, &bits, sizeof power);
        return a.v[i] * power;
    });
}
inline void store_halves(float* low, float* high, const F& a) {
    memcpy(low, a.v, sizeof a.v / 2);
    memcpy(high, a.v + lane_count / 2, sizeof a.v / 2);
}
inline float sum(const F& a) {
    float v[lane_count];
    memcpy(v, a.v, sizeof v);
    for (std::size_t half = lane_count / 2; half > 0; half /= 2) {
        for (std::size_t i = 0; i < half; ++i) {
            v[i] += v[i + half];
        }
    }
    return v[0];
}
inline float largest(const F& a) {
    float highest = a.v[0];
    for (float value : a.v) {
        highest = value > highest ? value : highest;
    }
    return highest;
}
using Folded = F;
inline const Folded& fold(const F& a) { return a; }
inline F sums(const Folded* rows) {
    return each([=](std::size_t i) { return sum(rows[i]); });
}
inline std::int32_t store_words(std::int32_t* to, const F& a) {
    const F whole = nearest(lesser(greater(a, all(-127.0f)), all(127.0f)));
    std::int8_t bytes[lane_count];
    std::int32_t total = 0;
    for (std::size_t i = 0; i < lane_count; ++i) {
        bytes[i] = static_cast<std::int8_t>(whole.v[i]);
        total += bytes[i];
    }
    memcpy(to, bytes, sizeof bytes);
    return total;
}

template <int rows>
inline void multiply_block(const std::uint8_t* weights, const std::int32_t* words, const std::int32_t* starts,
                           F* products) {
    for (int r = 0; r < rows; ++r) {
        std::int8_t x[block_inputs];
        for (std::size_t g = 0; g < block_inputs / group; ++g) {
            memcpy(x + g * group, words + g * rows + r, group);
        }
        std::int32_t dots[lane_count];
        for (std::size_t o = 0; o < lane_count; ++o) {
            dots[o] = starts[r];
        }
        for (std::size_t g = 0; g < block_inputs; g += group) {
            for (std::size_t o = 0; o < lane_count; ++o) {
                const std::uint8_t* w = weights + g * lane_count + o * group;
                dots[o] += w[0] * x[g] + w[1] * x[g + 1] + w[2] * x[g + 2] + w[3] * x[g + 3];
            }
        }
        products[r] = each([&](std::size_t o) { return static_cast<float>(dots[o]); });
    }
}

#endif

template <int value>
struct Number {};
template <int value>
constexpr int value_of(Number<value>) {
    return value;
}

// Calls work(first, Number<n>) on parts of `most` (a power of two), then of half as many, and so on to `end`.
template <int most, class Work>
void in_parts(std::size_t first, std::size_t end, Work work) {
    for (; first + most <= end; first += most) {
        work(first, Number<most>{});
    }
    if constexpr (most > 1) {
        in_parts<most / 2>(first, end, work);
    }
}

// e to the power of each lane (Cephes' expf: range reduction and a polynomial of degree 5), good to 2 ulp.
inline F exponential(F x) {
    x = lesser(greater(x, all(-87.0f)), all(87.0f));
    const F n = nearest(multiply(x, all(1.44269504088896341f)));
    F r = multiply_add(n, all(-0.693359375f), x);
    r = multiply_add(n, all(2.12194440e-4f), r);
    constexpr float terms[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 0.5f};
    F p = all(1.9875691500e-4f);
    for (const float term : terms) {
        p = multiply_add(p, r, all(term));
    }
    return times_power_of_two(add(multiply_add(p, multiply(r, r), r), all(1.0f)), n);
}

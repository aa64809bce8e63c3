#include "sampler.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

namespace plugin_bridge {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr int weight_bits = 30;
constexpr std::uint32_t full_weight = 1u << weight_bits;

template <class To, class From>
To bits_as(From from) noexcept {
    static_assert(sizeof(To) == sizeof(From), "the same bits, read as another type");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// Integers that compare as the floats do: sums and maxima of integers vectorise without fast-math.
// Adding 0 turns -0 into +0, so that the two tie.
std::int32_t key_of(float value) noexcept {
    const auto bits = bits_as<std::int32_t>(value + 0.0f);
    return bits ^ ((bits >> 31) & 0x7fffffff);
}

float value_of(std::int32_t key) noexcept {
    return bits_as<float>(key ^ ((key >> 31) & 0x7fffffff));
}

const std::int32_t forbidden_key = key_of(-infinity);

// Key and token id in one integer: the greater rank has the higher logit or, on a tie, the lower id.
std::uint64_t rank_of(std::int32_t key, std::uint32_t token) noexcept {
    const std::uint32_t unsigned_key = static_cast<std::uint32_t>(key) ^ 0x80000000u;
    return (static_cast<std::uint64_t>(unsigned_key) << 32) | (0xffffffffu - token);
}

std::int32_t key_in(std::uint64_t rank) noexcept {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(rank >> 32) ^ 0x80000000u);
}

std::uint32_t token_in(std::uint64_t rank) noexcept {
    return 0xffffffffu - static_cast<std::uint32_t>(rank);
}

// Reorders ranks so that the greatest come first, down to where their amounts add up to `wanted` or more;
// returns the last that this takes. Quickselect (Hoare, 1961) on amounts, without branches in its loop.
// Needs distinct ranks and begin < end; where all of them hold less, returns the least.
template <class Amount>
std::uint64_t* select(std::uint64_t* begin, std::uint64_t* end, std::uint64_t wanted,
                      Amount amount) noexcept {
    while (end - begin > 1) {
        // The median of three distinct ranks, or the greater of two: neither side of it is empty.
        const std::uint64_t a = *begin;
        const std::uint64_t b = begin[(end - begin) / 2];
        const std::uint64_t c = end[-1];
        const std::uint64_t median = std::max(std::min(a, b), std::min(std::max(a, b), c));
        const std::uint64_t pivot = end - begin == 2 ? std::max(a, c) : median;
        std::uint64_t* split = begin;
        std::uint64_t upper = 0;
        for (std::uint64_t* at = begin; at != end; ++at) {
            const std::uint64_t rank = *at;
            const bool above = rank >= pivot;
            *at = *split;
            *split = rank;
            split += above;
            upper += above ? amount(rank) : 0;
        }
        if (upper >= wanted) {
            end = split;
        } else {
            wanted -= upper;
            begin = split;
        }
    }
    return begin;
}

// round(2^30 * 2^x) for x <= 0, relative error 2e-7; 0 below x = -31. The polynomial of Cephes' exp2f
// (Moshier, 1992), because the C library's differs from platform to platform.
std::uint32_t weight_of(float x) noexcept {
    const float clamped = x > -40.0f ? x : -40.0f;
    constexpr float to_integer = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
    const float shifted = clamped + to_integer;
    const float rest = clamped - (shifted - to_integer);
    float series = 1.535336188319500e-4f;
    series = series * rest + 1.339887440266574e-3f;
    series = series * rest + 9.618437357674640e-3f;
    series = series * rest + 5.550332471162809e-2f;
    series = series * rest + 2.402264791363012e-1f;
    series = series * rest + 6.931472028550421e-1f;
    series = series * rest + 1.0f;
    const std::int32_t exponent = bits_as<std::int32_t>(shifted) - bits_as<std::int32_t>(to_integer);
    const float scale = bits_as<float>((exponent + weight_bits + 127) * (1 << 23));
    return static_cast<std::uint32_t>(static_cast<std::int32_t>(series * scale + 0.5f));
}

// Apart from the loops that write weights: alone, each of the two vectorises better.
std::uint64_t sum_of(const std::vector<std::uint32_t>& weights) noexcept {
    return std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
}

void check(const Filters& filters) {
    if (!(filters.temperature >= 0.0 && std::isfinite(filters.temperature))) {
        throw std::invalid_argument("temperature must be 0 or more, and finite");
    }
    if (filters.top_k < 0) {
        throw std::invalid_argument("top_k must be 0 (off) or more");
    }
    if (!(filters.top_p > 0.0 && filters.top_p <= 1.0)) {
        throw std::invalid_argument("top_p must be above 0 and at most 1 (off)");
    }
    if (!(filters.min_p >= 0.0 && filters.min_p <= 1.0)) {
        throw std::invalid_argument("min_p must be 0 (off) to 1");
    }
}

[[noreturn]] void refuse(const Scores& scores, std::size_t size) {
    for (std::size_t token = 0; token < size; ++token) {
        if (!(scores.logits[token] < infinity)) {
            throw std::invalid_argument("the logit of token " + std::to_string(token) + " is NaN or +inf");
        }
        if (scores.bias != nullptr && !(scores.bias[token] < infinity)) {
            throw std::invalid_argument("the bias of token " + std::to_string(token) + " is NaN or +inf");
        }
    }
    throw std::invalid_argument("logits and bias add up to +inf");
}

// Fills keys with the order of logits + bias, and returns whether all of them are usable.
template <bool has_bias>
bool fill_keys(const Scores& scores, std::vector<std::int32_t>& keys) noexcept {
    const std::size_t size = keys.size();
    std::int32_t* const out = keys.data();
    const std::int32_t forbidden = forbidden_key;
    int unusable = 0;
    for (std::size_t token = 0; token < size; ++token) {
        float value = scores.logits[token];
        if constexpr (has_bias) {
            value += scores.bias[token];  // NaN and +inf on either side stay so, save -inf + inf = NaN
        }
        unusable |= !(value < infinity);
        out[token] = scores.mask[token] != 0 ? key_of(value) : forbidden;
    }
    return unusable == 0;
}

std::size_t checked_size(std::int64_t vocabulary_size) {
    if (vocabulary_size < 1 || vocabulary_size > std::numeric_limits<std::int32_t>::max()) {
        throw std::invalid_argument("vocabulary_size must be at least 1 and below 2^31");
    }
    return static_cast<std::size_t>(vocabulary_size);
}

}  // namespace

Sampler::Sampler(std::int64_t vocabulary_size, std::uint64_t seed)
    : random_(seed),
      last_logprob_(std::numeric_limits<double>::quiet_NaN()),
      keys_(checked_size(vocabulary_size)),
      weights_(keys_.size()),
      candidates_(keys_.size()) {}

std::uint32_t Sampler::draw(const Scores& scores, const Filters& filters) {
    const std::lock_guard<std::mutex> turn(mutex_);
    const std::uint64_t total = weigh(scores, filters);
    const std::uint32_t token = token_at(filters.temperature == 0.0 ? 0 : random_.below(total));
    last_logprob_ = std::log(static_cast<double>(weights_[token]) / static_cast<double>(total));
    return token;
}

void Sampler::filtered(const Scores& scores, const Filters& filters, float* out) {
    const std::lock_guard<std::mutex> turn(mutex_);
    const auto total = static_cast<double>(weigh(scores, filters));
    std::transform(weights_.begin(), weights_.end(), out,
                   [total](std::uint32_t weight) { return static_cast<float>(weight / total); });
}

double Sampler::last_logprob() const {
    const std::lock_guard<std::mutex> turn(mutex_);
    return last_logprob_;
}

Random::State Sampler::state() const {
    const std::lock_guard<std::mutex> turn(mutex_);
    return random_.state();
}

void Sampler::set_state(const Random::State& state) {
    const std::lock_guard<std::mutex> turn(mutex_);
    random_.set_state(state);
}

std::uint64_t Sampler::weigh(const Scores& scores, const Filters& filters) {
    check(filters);
    const std::int32_t highest = order(scores);
    if (filters.temperature == 0.0) {
        return keep_only(highest);
    }
    return truncate(exponentiate(highest, filters.temperature), filters);
}

// Mask and bias: fills keys_, returns the highest.
std::int32_t Sampler::order(const Scores& scores) {
    const auto fill = scores.bias != nullptr ? fill_keys<true> : fill_keys<false>;
    if (!fill(scores, keys_)) {
        refuse(scores, keys_.size());
    }
    std::int32_t highest = forbidden_key;
    for (const std::int32_t key : keys_) {
        highest = std::max(highest, key);
    }
    if (highest == forbidden_key) {
        throw std::invalid_argument("no token is allowed: the mask or -inf logits forbid all of them");
    }
    return highest;
}

// Temperature 0: the lowest id among the highest logits.
std::uint64_t Sampler::keep_only(std::int32_t highest) noexcept {
    std::fill(weights_.begin(), weights_.end(), 0u);
    const auto token = std::find(keys_.begin(), keys_.end(), highest) - keys_.begin();
    weights_[static_cast<std::size_t>(token)] = full_weight;
    return full_weight;
}

std::uint64_t Sampler::exponentiate(std::int32_t highest, double temperature) noexcept {
    // Capped, so that 0 times it stays 0: a temperature near 0 leaves only the ties of the highest.
    constexpr double log2_e = 1.4426950408889634;
    const float factor = static_cast<float>(std::min(log2_e / temperature, 1e38));
    const float top = value_of(highest);
    const std::size_t size = keys_.size();
    const std::int32_t* const keys = keys_.data();
    std::uint32_t* const weights = weights_.data();
    const std::int32_t forbidden = forbidden_key;
    for (std::size_t token = 0; token < size; ++token) {
        const std::uint32_t weight = weight_of((value_of(keys[token]) - top) * factor);
        weights[token] = keys[token] == forbidden ? 0u : weight;
    }
    return sum_of(weights_);
}

// Top-k, top-p and min-p each keep the tokens down to some rank, so the strictest of them decides.
std::uint64_t Sampler::truncate(std::uint64_t total, const Filters& filters) noexcept {
    const std::uint64_t lowest = lowest_rank_kept(total, filters);
    const auto least_weight = static_cast<std::uint32_t>(std::ceil(filters.min_p * full_weight));
    if (lowest == 0 && least_weight == 0) {
        return total;
    }
    const std::int32_t lowest_key = key_in(lowest);
    const std::uint32_t last_tie = token_in(lowest);
    const auto size = static_cast<std::uint32_t>(keys_.size());
    const std::int32_t* const keys = keys_.data();
    std::uint32_t* const weights = weights_.data();
    for (std::uint32_t token = 0; token < size; ++token) {
        const bool ranks = (keys[token] > lowest_key) | ((keys[token] == lowest_key) & (token <= last_tie));
        const bool weighs = weights[token] >= least_weight;
        weights[token] = (ranks & weighs) ? weights[token] : 0u;
    }
    return sum_of(weights_);
}

// Top-k and then top-p: the rank of the last token that both keep, 0 when both keep all.
// Selection, not sorting: O(vocabulary) on average.
std::uint64_t Sampler::lowest_rank_kept(std::uint64_t total, const Filters& filters) noexcept {
    const auto weight_at = [this](std::uint64_t rank) { return std::uint64_t{weights_[token_in(rank)]}; };
    std::uint64_t* const begin = candidates_.data();
    std::uint64_t* end = begin;
    std::uint64_t lowest = 0;
    if (const std::size_t limit = effective_limit(filters.top_k); limit > 0) {
        end += collect_candidates(coarse_threshold(limit));
        std::uint64_t* const last = select(begin, end, limit, [](std::uint64_t) { return std::uint64_t{1}; });
        lowest = *last;
        end = last + 1;
        total = std::accumulate(begin, end, std::uint64_t{0},
                                [&](std::uint64_t sum, std::uint64_t rank) { return sum + weight_at(rank); });
    }
    if (filters.top_p == 1.0) {
        return lowest;
    }
    const auto wanted = static_cast<std::uint64_t>(std::ceil(filters.top_p * static_cast<double>(total)));
    if (end == begin) {
        // Tokens lighter than this weigh, all together, no more than top-p may leave out.
        const std::uint64_t spare = (total - wanted) / keys_.size();
        end += collect_candidates(static_cast<std::uint32_t>(std::max<std::uint64_t>(spare, 1)));
    }
    return *select(begin, end, wanted, weight_at);
}

// top_k where it leaves any token out that has a weight, else 0.
std::size_t Sampler::effective_limit(std::int64_t top_k) const noexcept {
    if (top_k == 0 || static_cast<std::uint64_t>(top_k) >= keys_.size()) {
        return 0;
    }
    const auto limit = static_cast<std::size_t>(top_k);
    return limit < count_from(1) ? limit : 0;
}

std::size_t Sampler::count_from(std::uint32_t least_weight) const noexcept {
    std::uint32_t count = 0;
    for (const std::uint32_t weight : weights_) {
        count += static_cast<std::int32_t>(weight) >= static_cast<std::int32_t>(least_weight) ? 1u : 0u;
    }
    return count;
}

// The greatest power of 2 that at least this many tokens weigh: it spares the selection most of its work.
std::uint32_t Sampler::coarse_threshold(std::size_t limit) const noexcept {
    int enough = 0;
    int too_high = weight_bits + 1;
    while (too_high - enough > 1) {
        const int middle = (enough + too_high) / 2;
        (count_from(1u << middle) >= limit ? enough : too_high) = middle;
    }
    return 1u << enough;
}

// Writes the ranks of the tokens that weigh at least this much; returns their number.
std::size_t Sampler::collect_candidates(std::uint32_t least_weight) noexcept {
    const auto size = static_cast<std::uint32_t>(keys_.size());
    const std::int32_t* const keys = keys_.data();
    const std::uint32_t* const weights = weights_.data();
    std::uint64_t* next = candidates_.data();
    for (std::uint32_t token = 0; token < size; ++token) {
        *next = rank_of(keys[token], token);
        next += weights[token] >= least_weight;  // no branch: which tokens are heavy is hard to predict
    }
    return static_cast<std::size_t>(next - candidates_.data());
}

// The token whose share of the weights, laid end to end in the order of ids, holds this position.
std::uint32_t Sampler::token_at(std::uint64_t position) const noexcept {
    std::uint32_t token = 0;
    while (position >= weights_[token]) {
        position -= weights_[token];
        ++token;
    }
    return token;
}

}  // namespace plugin_bridge

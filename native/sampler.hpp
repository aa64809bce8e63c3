// Drawing a token from logits, under a grammar mask and the usual truncations.
//
// Filters, in this order:
//   1. mask         tokens the grammar forbids are out
//   2. bias         added to the logits
//   3. temperature  logits divided by it; 0 is the greedy choice, the highest logit
//   4. top-k        the k highest logits (Fan et al., "Hierarchical Neural Story Generation", 2018)
//   5. top-p        the fewest tokens that hold at least p of what 4 left (Holtzman et al., "The Curious
//                   Case of Neural Text Degeneration", 2019)
//   6. min-p        tokens at least min_p times as likely as the likeliest (Nguyen et al., "Turning Up
//                   the Heat", 2024)
// Ties go to the lower token id.
//
// Determinism: weights are 30-bit integers from an exponential of our own, so every sum is exact and
// its order does not matter: the same seed and logits give the same token on every platform. A token
// less than 2^-31 times as likely as the likeliest weighs nothing.
//
// Threads: every method may be called from any thread; a lock makes calls on one sampler take turns.
// A sampler a thread is what keeps them from waiting, and what keeps last_logprob meaningful.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "random.hpp"

namespace plugin_bridge {

// The numbers of the filters above. top_k 0, top_p 1 and min_p 0 are off.
struct Filters {
    double temperature;
    std::int64_t top_k;
    double top_p;
    double min_p;
};

// What one draw reads; every pointer is to vocabulary_size values, bias may be null.
struct Scores {
    const float* logits;
    const std::uint8_t* mask;
    const float* bias;
};

class Sampler {
public:
    // Throws std::invalid_argument unless 1 <= vocabulary_size < 2^31. All memory is taken here.
    Sampler(std::int64_t vocabulary_size, std::uint64_t seed);

    std::size_t vocabulary_size() const noexcept { return keys_.size(); }

    // A token id. Takes one random number; none when the temperature is 0.
    // Throws std::invalid_argument when no token is allowed, for NaN and +inf, and for bad filters;
    // the random numbers have then not moved.
    std::uint32_t draw(const Scores& scores, const Filters& filters);

    // Writes the probabilities that draw() would use to out[vocabulary_size]. Throws as draw() does.
    void filtered(const Scores& scores, const Filters& filters, float* out);

    // Log-probability of the token drawn last, under the filtered distribution; NaN before any.
    double last_logprob() const;

    Random::State state() const;
    void set_state(const Random::State& state);

private:
    // These four leave weights_ filled and return their sum; weigh() runs the other three.
    std::uint64_t weigh(const Scores& scores, const Filters& filters);
    std::uint64_t keep_only(std::int32_t highest) noexcept;
    std::uint64_t exponentiate(std::int32_t highest, double temperature) noexcept;
    std::uint64_t truncate(std::uint64_t total, const Filters& filters) noexcept;

    std::int32_t order(const Scores& scores);
    std::uint64_t lowest_rank_kept(std::uint64_t total, const Filters& filters) noexcept;
    std::size_t effective_limit(std::int64_t top_k) const noexcept;
    std::size_t count_from(std::uint32_t least_weight) const noexcept;
    std::uint32_t coarse_threshold(std::size_t limit) const noexcept;
    std::size_t collect_candidates(std::uint32_t least_weight) noexcept;
    std::uint32_t token_at(std::uint64_t position) const noexcept;

    mutable std::mutex mutex_;
    Random random_;
    double last_logprob_;
    std::vector<std::int32_t> keys_;         // logits as integers of the same order
    std::vector<std::uint32_t> weights_;     // 2^30 for the likeliest; 0 for what is filtered out
    std::vector<std::uint64_t> candidates_;  // ranks while a cut is looked for
};

}  // namespace plugin_bridge

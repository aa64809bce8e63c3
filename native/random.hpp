// xoshiro256** 1.0 of Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators" (2018),
// seeded through splitmix64 as its authors advise. Integers only: the same numbers on every platform.
#pragma once

#include <array>
#include <cstdint>

namespace plugin_bridge {

class Random {
public:
    using State = std::array<std::uint64_t, 4>;

    explicit Random(std::uint64_t seed) noexcept;

    const State& state() const noexcept { return state_; }

    // Throws std::invalid_argument for the all-zero state, which the generator never leaves.
    void set_state(const State& state);

    std::uint64_t next() noexcept;

    // An integer in [0, bound): the high half of next() * bound (Lemire, 2019). Without his rejection
    // step, so that every draw takes one number; the bias is below bound / 2^64.
    std::uint64_t below(std::uint64_t bound) noexcept;

private:
    State state_;
};

}  // namespace plugin_bridge

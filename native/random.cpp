#include "random.hpp"

#include <stdexcept>

namespace plugin_bridge {
namespace {

std::uint64_t rotate_left(std::uint64_t value, int bits) noexcept {
    return (value << bits) | (value >> (64 - bits));
}

std::uint64_t splitmix64(std::uint64_t& counter) noexcept {
    counter += 0x9e3779b97f4a7c15u;
    std::uint64_t mixed = counter;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) noexcept {
    constexpr std::uint64_t low_half = 0xffffffffu;
    const std::uint64_t low = (a & low_half) * (b & low_half);
    const std::uint64_t cross = (a >> 32) * (b & low_half) + (low >> 32);
    const std::uint64_t other = (a & low_half) * (b >> 32) + (cross & low_half);
    return (a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32);
}

}  // namespace

Random::Random(std::uint64_t seed) noexcept : state_{} {
    for (std::uint64_t& word : state_) {
        word = splitmix64(seed);
    }
}

void Random::set_state(const State& state) {
    if (state == State{}) {
        throw std::invalid_argument("the state of the random numbers cannot be all zeros");
    }
    state_ = state;
}

std::uint64_t Random::next() noexcept {
    const std::uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate_left(state_[3], 45);
    return result;
}

std::uint64_t Random::below(std::uint64_t bound) noexcept { return multiply_high(next(), bound); }

}  // namespace plugin_bridge

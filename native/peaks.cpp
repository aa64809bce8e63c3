#include "peaks.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace plugin_bridge {
namespace {

constexpr std::size_t block = 256;

}  // namespace

void interpolated_peaks(const float* audio, std::size_t channels, std::size_t count, const float* coefficients,
                        std::size_t phases, std::size_t taps, float* peaks) {
    std::fill_n(peaks, count, 0.0F);
    std::vector<float> padded(block + taps);
    std::array<float, block> sums;
    const std::size_t before = taps / 2 - 1;
    for (std::size_t channel = 0; channel < channels; ++channel) {
        const float* const signal = audio + channel * count;
        for (std::size_t first = 0; first < count; first += block) {
            const std::size_t size = std::min(block, count - first);
            std::fill(padded.begin(), padded.end(), 0.0F);
            const std::size_t missing = first < before ? before - first : 0;
            const std::size_t from = first + missing - before;
            std::copy(signal + from, signal + std::min(count, first + block + taps - before),
                      padded.begin() + static_cast<std::ptrdiff_t>(missing));
            for (std::size_t index = 0; index < size; ++index) {
                peaks[first + index] = std::max(peaks[first + index], std::abs(signal[first + index]));
            }
            for (std::size_t phase = 0; phase < phases; ++phase) {
                sums.fill(0.0F);
                for (std::size_t tap = 0; tap < taps; tap += 4) {  // outside: blocks vectorise, sums do not
                    const float* const factors = coefficients + phase * taps + tap;
                    const float* const points = padded.data() + tap;
                    for (std::size_t index = 0; index < block; ++index) {
                        sums[index] += (factors[0] * points[index] + factors[1] * points[index + 1]) +
                                       (factors[2] * points[index + 2] + factors[3] * points[index + 3]);
                    }
                }
                for (std::size_t index = 0; index < size; ++index) {
                    peaks[first + index] = std::max(peaks[first + index], std::abs(sums[index]));
                }
            }
        }
    }
}

}  // namespace plugin_bridge

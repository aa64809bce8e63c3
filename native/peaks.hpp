// Peaks between samples: the largest magnitude of a signal that is interpolated by a polyphase filter.
#pragma once

#include <cstddef>

namespace plugin_bridge {

// For each of `count` samples the largest magnitude, over all channels, of the sample itself and of the points
// between it and the next, sum_j coefficients[phase][j] * channel[sample + 1 - taps / 2 + j]. Beyond its ends
// a signal is silent. audio: [channels][count], coefficients: [phases][taps]; taps is a multiple of 4.
void interpolated_peaks(const float* audio, std::size_t channels, std::size_t count, const float* coefficients,
                        std::size_t phases, std::size_t taps, float* peaks);

}  // namespace plugin_bridge

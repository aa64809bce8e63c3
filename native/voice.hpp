// A voice of a sampled instrument: one sample, read at a pitch, shaped and added to two channels.
//
//   1. reading      a polyphase filter: the row of `Filter` nearest to the position between two points
//   2. envelope     delay, linear attack, hold; decay and release linear in dB (SF2 8.1.2)
//   3. low-pass     two one-pole filters in a row, by the bilinear transform
//   4. gains        of the left and the right channel
//
// Determinism: the order of all sums is fixed and fused multiply-add is off, so that every platform whose
// library rounds exp2 and tan alike gives the same samples.
//
// Threads: nothing is shared; callers see to it that two threads do not write to one channel.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plugin_bridge {

// 16-bit points. Past loop_end reading goes on at loop_start; where both are equal, silence follows the end.
struct Wave {
    const std::int16_t* points;
    std::size_t size;
    std::size_t loop_start;
    std::size_t loop_end;
};

// `rows` filters of `taps` coefficients, for positions 0 to 1 (both included) between two points. The tap
// taps / 2 - 1 is that of the point before the position. taps is a multiple of 4.
struct Filter {
    const float* coefficients;
    std::size_t rows;
    std::size_t taps;
};

// Times in samples, levels in dB below full. Decay and release are the times for `silence` dB.
struct Envelope {
    double delay;
    double attack;
    double hold;
    double decay;
    double sustain;
    double release;
    double held;  // when the key comes up
};

struct Voice {
    Wave wave;
    Filter filter;
    double step;  // points a sample
    Envelope envelope;
    double cutoff;  // of the low-pass, as a fraction of the sample rate; 0.5 and more: none
    float left;
    float right;
};

// An envelope that has fallen so far, in dB, is over (SF2 8.1.2).
constexpr double silence = 100.0;

// Adds the first `count` samples of the voice to left[count] and right[count].
void add_voice(const Voice& voice, float* left, float* right, std::size_t count);

}  // namespace plugin_bridge

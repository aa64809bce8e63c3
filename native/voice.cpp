#include "voice.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace plugin_bridge {
namespace {

constexpr std::size_t block = 256;
constexpr double one_point = 4294967296.0;  // positions in a block are fixed-point numbers
constexpr double decibels_an_octave = 6.020599913279624;  // 20 log10(2)

// Points first to first + size as floats; before the sample, and after one without a loop, silence.
void read_points(const Wave& wave, std::int64_t first, float* out, std::size_t size) {
    const bool looped = wave.loop_end > wave.loop_start;
    const auto end = static_cast<std::int64_t>(looped ? wave.loop_end : wave.size);
    std::size_t done = 0;
    while (done < size) {
        std::int64_t from = first + static_cast<std::int64_t>(done);
        std::size_t run = size - done;
        if (from < 0) {
            run = std::min(run, static_cast<std::size_t>(-from));
            std::fill_n(out + done, run, 0.0F);
        } else if (from >= end && !looped) {
            std::fill_n(out + done, run, 0.0F);
        } else {
            if (from >= end) {
                const auto start = static_cast<std::int64_t>(wave.loop_start);
                from = start + (from - start) % (end - start);
            }
            run = std::min(run, static_cast<std::size_t>(end - from));
            const std::int16_t* const points = wave.points + from;
            for (std::size_t index = 0; index < run; ++index) {
                out[done + index] = static_cast<float>(points[index]) * (1.0F / 32768.0F);
            }
        }
        done += run;
    }
}

// Four sums side by side, which is what vector units have.
float dot(const float* one, const float* two, std::size_t taps) {
    std::array<float, 4> sums{};
    for (std::size_t tap = 0; tap < taps; tap += 4) {
        for (std::size_t lane = 0; lane < 4; ++lane) {
            sums[lane] += one[tap + lane] * two[tap + lane];
        }
    }
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

class Reader {
public:
    explicit Reader(const Voice& voice)
        : voice_(voice),
          points_(static_cast<std::size_t>(std::ceil(voice.step * block)) + voice.filter.taps + 2) {}

    // Samples first to first + size, at most a block. Positions are exact at its start and have 32 bits
    // after the point within it.
    void read(std::size_t first, float* out, std::size_t size) {
        const Filter& filter = voice_.filter;
        const double start = static_cast<double>(first) * voice_.step;
        const double origin = std::floor(start);
        auto at = static_cast<std::uint64_t>((start - origin) * one_point);
        const auto step = static_cast<std::uint64_t>(voice_.step * one_point + 0.5);
        const std::uint64_t last = at + (size - 1) * step;
        const auto before = static_cast<std::int64_t>(filter.taps / 2) - 1;
        read_points(voice_.wave, static_cast<std::int64_t>(origin) - before, points_.data(),
                    static_cast<std::size_t>(last >> 32) + filter.taps);
        const std::uint64_t rows = filter.rows - 1;
        for (std::size_t index = 0; index < size; ++index) {
            const std::uint64_t row = ((at & 0xffffffffU) * rows + (1U << 31)) >> 32;
            out[index] = dot(points_.data() + (at >> 32), filter.coefficients + row * filter.taps, filter.taps);
            at += step;
        }
    }

private:
    const Voice& voice_;
    std::vector<float> points_;
};

// The envelope's level at any sample, and along stretches over which its slopes do not change.
class Level {
public:
    explicit Level(const Envelope& envelope)
        : envelope_(envelope),
          peak_(envelope.delay + envelope.attack + envelope.hold),
          floor_(peak_ + envelope.sustain / silence * envelope.decay),
          corners_{envelope.delay, envelope.delay + envelope.attack, peak_, floor_, envelope.held} {}

    void shape(std::size_t first, float* samples, std::size_t size) const {
        std::size_t done = 0;
        while (done < size) {
            const double at = static_cast<double>(first + done);
            const std::size_t run = std::min(size - done, to_next_corner(at));
            const double factor = std::exp2(log_level(at + 1) - log_level(at));
            const double ramp = rise(at);
            const double slope = rise(at + 1) - ramp;
            fade(samples + done, run, std::exp2(log_level(at)) * (slope == 0 ? ramp : 1.0), factor);
            for (std::size_t index = 0; slope != 0 && index < run; ++index) {
                samples[done + index] *= static_cast<float>(ramp + slope * static_cast<double>(index));
            }
            done += run;
        }
    }

private:
    // Multiplies with a level that changes by a factor from sample to sample: four side by side.
    static void fade(float* samples, std::size_t size, double level, double factor) {
        std::array<float, 4> levels{};
        for (float& each : levels) {
            each = static_cast<float>(level);
            level *= factor;
        }
        const auto four = static_cast<float>(factor * factor * factor * factor);
        std::size_t index = 0;
        for (; index + 4 <= size; index += 4) {
            for (std::size_t lane = 0; lane < 4; ++lane) {
                samples[index + lane] *= levels[lane];
                levels[lane] *= four;
            }
        }
        for (std::size_t lane = 0; index + lane < size; ++lane) {
            samples[index + lane] *= levels[lane];
        }
    }

    // Samples until a corner comes: 1 where it lies within the next one.
    std::size_t to_next_corner(double at) const {
        double run = static_cast<double>(block);
        for (const double corner : corners_) {
            if (corner > at) {
                run = std::min(run, std::max(1.0, std::floor(corner - at)));
            }
        }
        return static_cast<std::size_t>(run);
    }

    double rise(double at) const {
        return std::clamp((at - envelope_.delay) / envelope_.attack, 0.0, 1.0);
    }

    double log_level(double at) const {
        const double fallen = std::max(at - peak_, 0.0) / envelope_.decay * silence;
        const double fall = std::min(fallen, envelope_.sustain);
        const double released = std::max(at - envelope_.held, 0.0) / envelope_.release * silence;
        return -(fall + released) / decibels_an_octave;
    }

    const Envelope& envelope_;
    double peak_;
    double floor_;
    std::array<double, 5> corners_;
};

// One pole, and a zero at half the sample rate.
class LowPass {
public:
    explicit LowPass(double cutoff) {
        const double warped = std::tan(3.14159265358979323846 * cutoff);
        in_ = static_cast<float>(warped / (warped + 1));
        back_ = static_cast<float>((1 - warped) / (warped + 1));
    }

    float operator()(float sample) {
        out_ = in_ * (sample + before_) + back_ * out_;
        before_ = sample;
        return out_;
    }

private:
    float in_;
    float back_;
    float before_ = 0.0F;
    float out_ = 0.0F;
};

}  // namespace

void add_voice(const Voice& voice, float* left, float* right, std::size_t count) {
    Reader reader(voice);
    const Level level(voice.envelope);
    const bool filtered = voice.cutoff < 0.5;
    LowPass one(filtered ? voice.cutoff : 0.25);
    LowPass two(one);
    std::array<float, block> samples;
    for (std::size_t first = 0; first < count; first += block) {
        const std::size_t size = std::min(block, count - first);
        reader.read(first, samples.data(), size);
        level.shape(first, samples.data(), size);
        if (filtered) {
            for (std::size_t index = 0; index < size; ++index) {
                samples[index] = two(one(samples[index]));
            }
        }
        for (std::size_t index = 0; index < size; ++index) {
            left[first + index] += voice.left * samples[index];
            right[first + index] += voice.right * samples[index];
        }
    }
}

}  // namespace plugin_bridge

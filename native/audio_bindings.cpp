// What plugin_bridge._native has for sound; arrays and numbers are checked here.
#include "audio_bindings.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>

#include "peaks.hpp"
#include "voice.hpp"

namespace py = pybind11;

namespace plugin_bridge {
namespace {

template <class Value>
using Array = py::array_t<Value, py::array::c_style>;

void need(bool condition, const char* message) {
    if (!condition) {
        throw std::invalid_argument(message);
    }
}

Envelope envelope_of(const std::tuple<double, double, double, double, double, double>& times, double held) {
    const auto [delay, attack, hold, decay, sustain, release] = times;
    for (const double each : {delay, hold, sustain, held}) {
        need(std::isfinite(each) && each >= 0, "delay, hold, sustain and held must not be negative");
    }
    for (const double each : {attack, decay, release}) {
        need(std::isfinite(each) && each > 0, "attack, decay and release must be positive");
    }
    return {delay, attack, hold, decay, sustain, release, held};
}

void add_voice_checked(Array<float>& out, std::size_t at, std::size_t count, const Array<std::int16_t>& points,
                       std::tuple<std::size_t, std::size_t> loop, const Array<float>& filter, double step,
                       const std::tuple<double, double, double, double, double, double>& envelope, double held,
                       double cutoff, std::tuple<float, float> gains) {
    need(out.ndim() == 2 && out.shape(0) == 2 && out.writeable(), "out must be writeable, of shape (2, n)");
    const auto size = static_cast<std::size_t>(out.shape(1));
    need(at <= size && count <= size - at, "the voice reaches past the end of out");
    need(points.ndim() == 1, "points must be of shape (n,)");
    const auto [start, end] = loop;
    need(start <= end && end <= static_cast<std::size_t>(points.size()), "the loop lies outside the points");
    need(filter.ndim() == 2 && filter.shape(0) >= 2 && filter.shape(1) >= 4 && filter.shape(1) % 4 == 0,
         "table must be of shape (2 rows or more, a multiple of 4 taps)");
    need(step > 0 && step <= 1024, "step must be above 0 and at most 1024");
    need(cutoff > 0, "cutoff must be positive");
    const Voice voice{
        {points.data(), static_cast<std::size_t>(points.size()), start, end},
        {filter.data(), static_cast<std::size_t>(filter.shape(0)), static_cast<std::size_t>(filter.shape(1))},
        step, envelope_of(envelope, held), cutoff, std::get<0>(gains), std::get<1>(gains),
    };
    float* const left = out.mutable_data() + at;
    const py::gil_scoped_release release;
    add_voice(voice, left, left + size, count);
}

py::array_t<float> interpolated_peaks_checked(const Array<float>& audio, const Array<float>& filter) {
    need(audio.ndim() == 2, "audio must be of shape (channels, n)");
    need(filter.ndim() == 2 && filter.shape(1) >= 4 && filter.shape(1) % 4 == 0,
         "table must be of shape (phases, a multiple of 4 taps)");
    py::array_t<float> peaks(audio.shape(1));
    float* const out = peaks.mutable_data();
    const py::gil_scoped_release release;
    interpolated_peaks(audio.data(), static_cast<std::size_t>(audio.shape(0)),
                       static_cast<std::size_t>(audio.shape(1)), filter.data(),
                       static_cast<std::size_t>(filter.shape(0)), static_cast<std::size_t>(filter.shape(1)), out);
    return peaks;
}

}  // namespace

void bind_audio(py::module_& module) {
    module.def("add_voice", &add_voice_checked, py::arg("out").noconvert(), py::arg("at"), py::arg("count"),
               py::arg("points").noconvert(), py::arg("loop"), py::arg("table").noconvert(), py::arg("step"),
               py::arg("envelope"), py::arg("held"), py::arg("cutoff"), py::arg("gains"),
               "Adds a sample, read at a pitch and shaped, to the two channels of out.");
    module.def("interpolated_peaks", &interpolated_peaks_checked, py::arg("audio").noconvert(),
               py::arg("table").noconvert(), "The largest magnitude from each sample to the next.");
}

}  // namespace plugin_bridge

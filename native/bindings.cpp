// The Python module plugin_bridge._native: arrays are checked here, errors become ValueError, and the
// interpreter's lock is released around the work. plugin_bridge/_native.pyi holds the signatures.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "audio_bindings.hpp"
#include "network_bindings.hpp"
#include "sampler.hpp"

namespace py = pybind11;

namespace {

using plugin_bridge::Filters;
using plugin_bridge::Random;
using plugin_bridge::Sampler;
using plugin_bridge::Scores;

constexpr int needed_flags =
    py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;

template <class Value>
const Value* values(const py::handle& object, std::size_t size, const char* name, const char* type) {
    if (py::isinstance<py::array_t<Value>>(object)) {
        const auto array = py::reinterpret_borrow<py::array>(object);
        if ((array.flags() & needed_flags) == needed_flags && array.ndim() == 1 &&
            array.shape(0) == static_cast<py::ssize_t>(size)) {
            return static_cast<const Value*>(array.data());
        }
    }
    throw std::invalid_argument(std::string(name) + " must be a C-contiguous " + type + " array of shape (" +
                                std::to_string(size) + ",)");
}

Scores scores_of(const Sampler& sampler, const py::handle& logits, const py::handle& mask,
                 const py::handle& bias) {
    const std::size_t size = sampler.vocabulary_size();
    return {
        values<float>(logits, size, "logits", "float32"),
        values<std::uint8_t>(mask, size, "mask", "uint8"),
        bias.is_none() ? nullptr : values<float>(bias, size, "bias", "float32"),
    };
}

std::uint32_t draw(Sampler& sampler, const py::object& logits, const py::object& mask, const py::object& bias,
                   double temperature, std::int64_t top_k, double top_p, double min_p) {
    const Scores scores = scores_of(sampler, logits, mask, bias);
    const py::gil_scoped_release release;
    return sampler.draw(scores, Filters{temperature, top_k, top_p, min_p});
}

py::array_t<float> filtered(Sampler& sampler, const py::object& logits, const py::object& mask,
                            const py::object& bias, double temperature, std::int64_t top_k, double top_p,
                            double min_p) {
    const Scores scores = scores_of(sampler, logits, mask, bias);
    py::array_t<float> out(static_cast<py::ssize_t>(sampler.vocabulary_size()));
    float* const probabilities = out.mutable_data();
    {
        const py::gil_scoped_release release;
        sampler.filtered(scores, Filters{temperature, top_k, top_p, min_p}, probabilities);
    }
    return out;
}

py::tuple state(const Sampler& sampler) {
    const Random::State words = sampler.state();
    return py::make_tuple(words[0], words[1], words[2], words[3]);
}

void set_state(Sampler& sampler, const py::sequence& words) {
    Random::State state{};
    if (words.size() != state.size()) {
        throw std::invalid_argument("state must hold 4 integers");
    }
    try {
        for (std::size_t word = 0; word < state.size(); ++word) {
            state[word] = words[word].cast<std::uint64_t>();
        }
    } catch (const py::cast_error&) {
        throw std::invalid_argument("state must hold integers from 0 to 2^64 - 1");
    }
    sampler.set_state(state);
}

}  // namespace

PYBIND11_MODULE(_native, module) {
    module.doc() = "What the runtime computes in C++: the network's steps, drawing tokens, playing samples.";
    plugin_bridge::bind_network(module);
    plugin_bridge::bind_audio(module);

    py::class_<Sampler>(module, "Sampler",
                        "Draws tokens under mask, bias, temperature, top-k, top-p and min-p, in this order.")
        .def(py::init<std::int64_t, std::uint64_t>(), py::arg("vocabulary_size"), py::arg("seed"))
        .def("draw", &draw, py::arg("logits"), py::arg("mask"), py::arg("bias"), py::arg("temperature"),
             py::arg("top_k"), py::arg("top_p"), py::arg("min_p"),
             "A token id; takes one random number, none at temperature 0.")
        .def("filtered", &filtered, py::arg("logits"), py::arg("mask"), py::arg("bias"),
             py::arg("temperature"), py::arg("top_k"), py::arg("top_p"), py::arg("min_p"),
             "The probabilities that draw would use, float32 [vocabulary_size].")
        .def_property("state", &state, &set_state, "The random numbers' state: 4 integers.")
        .def_property_readonly("last_logprob", &Sampler::last_logprob,
                               "Log-probability of the token drawn last; NaN before any.")
        .def_property_readonly("vocabulary_size", &Sampler::vocabulary_size);
}

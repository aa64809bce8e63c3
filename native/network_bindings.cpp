// plugin_bridge._native.Network and NetworkStream: arrays are checked here and kept alive.
#include "network_bindings.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "network.hpp"

namespace py = pybind11;

namespace plugin_bridge {
namespace {

template <class Value>
py::array checked(const py::handle& object, const std::string& name) {
    if (!py::isinstance<py::array_t<Value>>(object)) {
        throw std::invalid_argument(name + " has another type than the network needs");
    }
    auto array = py::reinterpret_borrow<py::array>(object);
    constexpr int needed =
        py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    if ((array.flags() & needed) != needed) {
        throw std::invalid_argument(name + " must be C-contiguous and aligned");
    }
    return array;
}

std::vector<std::size_t> shape_of(const py::array& array) {
    return {array.shape(), array.shape() + array.ndim()};
}

// The floats of an array of this shape, which the caller keeps alive.
float* floats(const py::handle& object, const std::vector<std::size_t>& shape, const std::string& name) {
    py::array array = checked<float>(object, name);
    if (shape_of(array) != shape) {
        throw std::invalid_argument(name + " has another shape than the network needs");
    }
    if (name.compare(0, 5, "past_") == 0 && !array.writeable()) {
        throw std::invalid_argument(name + " is a cache and must be writeable");
    }
    return static_cast<float*>(const_cast<void*>(array.data()));
}

const Kernels& kernels_called(const py::object& name) {
    std::size_t count = 0;
    const Kernels* const* const all = available_kernels(&count);
    if (name.is_none()) {
        return *all[0];
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (name.cast<std::string>() == all[i]->name) {
            return *all[i];
        }
    }
    throw std::invalid_argument("there are no kernels " + name.cast<std::string>() + " on this processor");
}

std::vector<std::string> kernel_names() {
    std::size_t count = 0;
    const Kernels* const* const all = available_kernels(&count);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count; ++i) {
        names.emplace_back(all[i]->name);
    }
    return names;
}

std::shared_ptr<LoadedNetwork> load(const py::dict& tensors, std::size_t heads, std::size_t head_width,
                                    std::size_t context, std::size_t window, std::size_t layers,
                                    std::vector<std::size_t> chord_layers, std::size_t plan_entries,
                                    const py::object& kernels) {
    std::vector<py::array> kept;  // while the weights are copied
    const auto find = [&](const std::string& name, Type type) -> Tensor {
        if (!tensors.contains(name)) {
            throw std::invalid_argument("the network has no " + name);
        }
        const py::object object = tensors[name.c_str()];
        const py::array array = type == Type::float32 ? checked<float>(object, name)
                                : type == Type::uint8 ? checked<std::uint8_t>(object, name)
                                                      : checked<std::int64_t>(object, name);
        kept.push_back(array);
        return {array.data(), shape_of(array)};
    };
    return std::make_shared<LoadedNetwork>(
        kernels_called(kernels),
        Sizes{heads, head_width, context, window, std::move(chord_layers), layers, plan_entries}, find);
}

class BoundStream {
public:
    BoundStream(std::shared_ptr<LoadedNetwork> network, const py::dict& arrays)
        : kept_(arrays.attr("copy")()),
          stream_(network, states(*network), array("plan_mask", {1, 1, 1, network->view().plan_entries})),
          logits_({most_tokens, network->view().vocabulary_size}),
          last_(logits_.attr("__getitem__")(0)) {
        for (const auto& item : kept_) {
            const auto name = item.first.cast<std::string>();
            if (name.find(".lora_") != std::string::npos && factors_.count(name) == 0) {
                throw std::invalid_argument("the network has no " + name);
            }
        }
    }

    // float32 [V] after the last token, or [S, V] with `every`; reused by the next call.
    py::object extend(const std::vector<std::int64_t>& tokens, const std::vector<std::int64_t>& metre,
                      std::size_t context_used, std::size_t window_used, bool every) {
        float* const logits = logits_.mutable_data();
        {
            const py::gil_scoped_release release;
            stream_.extend(tokens, metre, every, context_used, window_used, logits);
        }
        return every ? logits_[py::slice(0, static_cast<py::ssize_t>(tokens.size()), 1)] : last_;
    }

private:
    float* array(const std::string& name, const std::vector<std::size_t>& shape) {
        if (!kept_.contains(name)) {
            throw std::invalid_argument("the stream has no " + name);
        }
        return floats(kept_[name.c_str()], shape, name);
    }

    std::vector<LayerState> states(const LoadedNetwork& loaded) {
        const Network& network = loaded.view();
        std::vector<LayerState> states(network.layer_count);
        for (std::size_t i = 0; i < network.layer_count; ++i) {
            const std::string number = std::to_string(i);
            const Layer& layer = network.layers[i];
            LayerState& state = states[i];
            const std::string name = "past_key_" + number;
            if (!kept_.contains(name)) {
                throw std::invalid_argument("the stream has no " + name);
            }
            const py::array keys = checked<float>(kept_[name.c_str()], name);
            state.rows = keys.ndim() == 4 ? static_cast<std::size_t>(keys.shape(2)) : 0;
            const std::vector<std::size_t> shape{1, network.heads, state.rows, network.head_width};
            state.keys = array(name, shape);
            state.values = array("past_value_" + number, shape);
            if (layer.has_chords) {
                const std::size_t entries = network.plan_entries;
                state.plan_keys =
                    array("plan_key_" + number, {1, network.heads, network.head_width, entries});
                state.plan_values =
                    array("plan_value_" + number, {1, network.heads, entries, network.head_width});
            }
            for (int which = 0; which < product_count; ++which) {
                state.factors[which] = factor(number, static_cast<Product>(which), layer.products[which]);
            }
        }
        return states;
    }

    Factor factor(const std::string& layer, Product product, const Matrix& matrix) {
        const std::string name = "layer" + layer + "." + name_of(product) + ".lora_";
        if ((!kept_.contains(name + "A") && !kept_.contains(name + "B")) || matrix.inputs == 0) {
            return {0, nullptr, nullptr};
        }
        if (!kept_.contains(name + "A")) {
            throw std::invalid_argument("the stream has no " + name + "A");
        }
        const py::array down = checked<float>(kept_[(name + "A").c_str()], name + "A");
        const std::size_t rank = down.ndim() == 2 ? static_cast<std::size_t>(down.shape(1)) : 0;
        factors_.insert({name + "A", name + "B"});
        return {rank, array(name + "A", {matrix.inputs, rank}), array(name + "B", {rank, matrix.outputs})};
    }

    py::dict kept_;
    std::set<std::string> factors_;
    Stream stream_;
    py::array_t<float> logits_;
    py::object last_;
};

}  // namespace

void bind_network(py::module_& module) {
    module.attr("MOST_TOKENS") = most_tokens;
    module.attr("CACHE_ROWS") = lane_count;
    module.def("network_kernels", &kernel_names, "The kernels that this processor runs, the fastest first.");

    py::class_<LoadedNetwork, std::shared_ptr<LoadedNetwork>>(module, "Network",
                                                              "The network with its 8-bit weights.")
        .def(py::init(&load), py::arg("tensors"), py::kw_only(), py::arg("heads"), py::arg("head_width"),
             py::arg("context"), py::arg("window"), py::arg("layers"), py::arg("chord_layers"),
             py::arg("plan_entries"), py::arg("kernels") = py::none())
        .def_property_readonly("kernels",
                               [](const LoadedNetwork& network) { return network.kernels().name; });

    py::class_<BoundStream>(module, "NetworkStream",
                            "A stream on a network, with the caller's buffers as its cache.")
        .def(py::init<std::shared_ptr<LoadedNetwork>, const py::dict&>(), py::arg("network").none(false),
             py::arg("arrays"))
        .def("extend", &BoundStream::extend, py::arg("tokens"), py::arg("metre"), py::arg("context_used"),
             py::arg("window_used"), py::arg("every") = false);
}

}  // namespace plugin_bridge

#include "network.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace plugin_bridge {

const Kernels* const* available_kernels(std::size_t* count) {
    static const std::vector<const Kernels*> found = [] {
        std::vector<const Kernels*> list;
#if defined(PLUGIN_BRIDGE_X86)
        if (has_avx512()) {
            list.push_back(&avx512);
        }
        if (has_avx2()) {
            list.push_back(&avx2);
        }
#endif
        list.push_back(&generic);
        return list;
    }();
    *count = found.size();
    return found.data();
}

namespace {

void require(bool condition, const std::string& problem) {
    if (!condition) {
        throw std::invalid_argument(problem);
    }
}

std::string text_of(const std::vector<std::size_t>& shape) {
    std::string text = "[";
    for (std::size_t size : shape) {
        text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    }
    return text + "]";
}

std::size_t most_rows(const std::vector<LayerState>& states) {
    std::size_t most = 0;
    for (const LayerState& state : states) {
        require(state.rows % lane_count == 0, "the rows of a cache must be a multiple of 16");
        most = std::max(most, state.rows);
    }
    return most;
}

std::string linear_name(std::size_t layer, Product product) {
    return "layer" + std::to_string(layer) + "." + name_of(product) + ".weight";
}

}  // namespace

const char* name_of(Product product) {
    static const char* const names[product_count] = {"qkv",        "out",     "chords.query",
                                                     "chords.out", "feed_in", "feed_out"};
    return names[product];
}

LoadedNetwork::LoadedNetwork(const Kernels& kernels, const Sizes& sizes, const FindTensor& find)
    : kernels_(kernels) {
    const std::size_t width = sizes.heads * sizes.head_width;
    const std::size_t parts = sizes.head_width / lane_count;
    require(sizes.head_width % lane_count == 0 && parts >= 1 && (parts <= 4 || parts == 6 || parts == 8),
            "the width of a head must be 16, 32, 48, 64, 96 or 128");
    require(width > 0 && width % block_inputs == 0, "the width must be a multiple of 32");
    require(sizes.window >= 1 && sizes.window <= sizes.context && sizes.context < (1u << 24) &&
                sizes.layers < 1024,
            "the spans do not fit together");
    require(sizes.plan_entries >= 1 && sizes.plan_entries <= 32, "a plan has 1 to 32 entries");
    const std::vector<std::size_t> tokens = find("token_table", Type::float32).shape;
    const std::vector<std::size_t> metre = find("metre_table", Type::float32).shape;
    const std::vector<std::size_t> feed = find("layer0.feed_in.weight_scales", Type::float32).shape;
    require(tokens.size() == 2 && metre.size() == 2 && feed.size() == 2, "tables must have two dimensions");
    view_.width = width;
    view_.heads = sizes.heads;
    view_.head_width = sizes.head_width;
    view_.hidden = feed[0];
    view_.vocabulary_size = tokens[0];
    view_.metre_size = metre[0];
    view_.layer_count = sizes.layers + 1;
    view_.plan_entries = sizes.plan_entries;
    require(view_.hidden > 0 && view_.hidden % block_inputs == 0 && view_.hidden < (1u << 24),
            "the hidden width must be a multiple of 32");
    require(view_.vocabulary_size > 0 && view_.vocabulary_size < (1u << 24),
            "the vocabulary is empty or too large");
    view_.token_table = floats(find, "token_table", {view_.vocabulary_size, width});
    view_.metre_table = floats(find, "metre_table", {view_.metre_size, width});
    view_.first_norm = norm(find, "layer0.attention_norm");
    for (std::size_t i = 0; i <= sizes.layers; ++i) {
        const std::string name = "layer" + std::to_string(i);
        const char* const cache = i == 0 ? "context" : "window";
        Layer layer{};
        layer.span = i == 0 ? sizes.context : sizes.window;
        layer.has_chords =
            std::find(sizes.chord_layers.begin(), sizes.chord_layers.end(), i) != sizes.chord_layers.end();
        layer.products[qkv] = matrix(find, linear_name(i, qkv), width, 3 * width);
        layer.products[attention_out] = matrix(find, linear_name(i, attention_out), width, width);
        if (layer.has_chords) {
            layer.chord_norm = norm(find, name + ".chord_norm");
            layer.products[chord_query] = matrix(find, linear_name(i, chord_query), width, width);
            layer.products[chord_out] = matrix(find, linear_name(i, chord_out), width, width);
        }
        layer.feed_norm = norm(find, name + ".feed_norm");
        layer.products[feed_in] = matrix(find, linear_name(i, feed_in), width, view_.hidden);
        layer.products[feed_out] = matrix(find, linear_name(i, feed_out), view_.hidden, width);
        layer.next_norm = norm(find, name + ".next_norm");
        take_distances(find, name + ".distance", std::string(cache) + "_buckets", layer);
        layers_.push_back(layer);
    }
    view_.layers = layers_.data();
    view_.output = matrix(find, "output_table", width, view_.vocabulary_size);
    view_.output_bias = floats(find, "output_bias", {view_.vocabulary_size});
}

const float* LoadedNetwork::floats(const FindTensor& find, const std::string& name,
                                   const std::vector<std::size_t>& shape) {
    const Tensor tensor = find(name, Type::float32);
    require(tensor.shape == shape,
            name + " has the shape " + text_of(tensor.shape) + ", not " + text_of(shape));
    std::size_t count = 1;
    for (std::size_t size : shape) {
        count *= size;
    }
    floats_.emplace_back(count);
    std::memcpy(floats_.back().data(), tensor.data, count * sizeof(float));
    return floats_.back().data();
}

Norm LoadedNetwork::norm(const FindTensor& find, const std::string& name) {
    return {floats(find, name + ".weight", {view_.width}), floats(find, name + ".bias", {view_.width})};
}

Matrix LoadedNetwork::matrix(const FindTensor& find, const std::string& name, std::size_t inputs,
                             std::size_t outputs) {
    const std::size_t blocks = inputs / block_inputs;
    const Tensor rows = find(name + "_Q8", Type::uint8), scales = find(name + "_scales", Type::float32);
    require(rows.shape == std::vector<std::size_t>{outputs, blocks, block_inputs},
            name + "_Q8 has the shape " + text_of(rows.shape));
    require(scales.shape == std::vector<std::size_t>{outputs, blocks},
            name + "_scales has the shape " + text_of(scales.shape));
    bytes_.emplace_back(padded(outputs) * inputs);
    floats_.emplace_back(padded(outputs) * blocks);
    kernels_.pack(static_cast<const std::uint8_t*>(rows.data), static_cast<const float*>(scales.data), inputs,
                  outputs, bytes_.back().data(), floats_.back().data());
    return {inputs, outputs, bytes_.back().data(), floats_.back().data()};
}

void LoadedNetwork::take_distances(const FindTensor& find, const std::string& vectors,
                                   const std::string& buckets, Layer& layer) {
    const Tensor given = find(vectors, Type::float32), bucket_of = find(buckets, Type::int64);
    require(given.shape.size() == 3 && given.shape[0] == view_.heads && given.shape[1] == view_.head_width &&
                given.shape[2] > 0 && given.shape[2] < (1u << 24),
            vectors + " has the shape " + text_of(given.shape));
    require(bucket_of.shape == std::vector<std::size_t>{layer.span},
            buckets + " has the shape " + text_of(bucket_of.shape));
    layer.bucket_count = given.shape[2];
    layer.buckets = padded(layer.bucket_count);
    floats_.emplace_back(view_.width * layer.buckets);
    float* const reversed = floats_.back().data();
    for (std::size_t row = 0; row < view_.width; ++row) {
        const float* const from = static_cast<const float*>(given.data) + row * layer.bucket_count;
        std::reverse_copy(from, from + layer.bucket_count, reversed + row * layer.buckets);
    }
    layer.distance = reversed;

    const auto* const bucket = static_cast<const std::int64_t*>(bucket_of.data);
    const auto count = static_cast<std::int64_t>(layer.bucket_count);
    std::vector<Run> runs;  // the nearest first
    for (std::size_t d = 0; d < layer.span; ++d) {
        const bool rises = d == 0 ? bucket[d] == 0 : bucket[d] >= bucket[d - 1];
        require(rises && bucket[d] < count,
                buckets + " must rise from 0 and stay below " + std::to_string(count));
        if (runs.empty() && bucket[d] == static_cast<std::int64_t>(d)) {
            layer.exact = d + 1;
        } else if (!runs.empty() && bucket[d] == bucket[d - 1]) {
            runs.back().farthest = d;
        } else {
            runs.push_back({d, d, static_cast<std::size_t>(count - 1 - bucket[d])});
        }
    }
    std::reverse(runs.begin(), runs.end());
    runs_.push_back(std::move(runs));
    layer.runs = runs_.back().data();
    layer.run_count = runs_.back().size();
}

Stream::Stream(std::shared_ptr<const LoadedNetwork> network, std::vector<LayerState> states,
               const float* plan_mask)
    : network_(std::move(network)),
      states_(std::move(states)),
      plan_mask_(plan_mask),
      workspace_(network_->kernels().workspace_bytes(network_->view(), most_rows(states_))) {
    require(states_.size() == network_->view().layer_count, "a stream has a state for each layer");
}

void Stream::extend(const std::vector<std::int64_t>& tokens, const std::vector<std::int64_t>& metre,
                    bool every, std::size_t context_used, std::size_t window_used, float* logits) {
    const Network& network = network_->view();
    const std::size_t count = tokens.size();
    if (count == 0 || count > most_tokens || metre.size() != count) {
        throw std::invalid_argument("a pass takes 1 to 64 tokens, and a metrical position for each");
    }
    for (std::size_t t = 0; t < count; ++t) {
        if (tokens[t] < 0 || static_cast<std::size_t>(tokens[t]) >= network.vocabulary_size) {
            throw std::invalid_argument("there is no token " + std::to_string(tokens[t]));
        }
        if (metre[t] < 0 || static_cast<std::size_t>(metre[t]) >= network.metre_size) {
            throw std::invalid_argument("there is no metrical position " + std::to_string(metre[t]));
        }
    }
    if (busy_.test_and_set(std::memory_order_acquire)) {
        throw std::runtime_error("a stream belongs to one thread at a time");
    }
    struct Release {
        std::atomic_flag& flag;
        ~Release() { flag.clear(std::memory_order_release); }
    } release{busy_};
    for (std::size_t i = 0; i < states_.size(); ++i) {
        const std::size_t used = i == 0 ? context_used : window_used;
        if (used > states_[i].rows || count > states_[i].rows - used) {
            throw std::invalid_argument("the cache has no room for these tokens");
        }
        states_[i].total = used + count;
    }
    network_->kernels().forward(network, states_.data(), plan_mask_,
                                {tokens.data(), metre.data(), count, every}, workspace_.data(), logits);
}

}  // namespace plugin_bridge

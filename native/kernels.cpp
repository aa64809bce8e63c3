// One pass through the network: see kernels.hpp. PLUGIN_BRIDGE_KERNELS names what this compilation defines.
//
// The network is model/network.py's, the weights those of the exported graph, the arithmetic that of
// MatMulNBits at accuracy level 4: weights and activations in 8 bits with a scale for each 32, products
// added up in float32. Each token's values are computed in the same order whatever shares its pass, so a
// stream does not depend on how it was cut into passes, bit for bit.
#include "kernels.hpp"

#include <math.h>
#include <string.h>

#if defined(PLUGIN_BRIDGE_AVX512) || defined(PLUGIN_BRIDGE_AVX2)
#include <immintrin.h>
#endif

namespace plugin_bridge {
namespace {

#include "lanes.hpp"
#include "products.hpp"
#include "attention.hpp"

constexpr float norm_epsilon = 1e-5f;

void layer_norm(const float* x, const Norm& norm, std::size_t width, float* out) {
    F total = all(0.0f);
    for (std::size_t i = 0; i < width; i += lane_count) {
        total = add(total, load(x + i));
    }
    const F mean = all(sum(total) / static_cast<float>(width));
    F squares = all(0.0f);
    for (std::size_t i = 0; i < width; i += lane_count) {
        const F away = subtract(load(x + i), mean);
        squares = multiply_add(away, away, squares);
    }
    const F scale = all(1.0f / sqrtf(sum(squares) / static_cast<float>(width) + norm_epsilon));
    for (std::size_t i = 0; i < width; i += lane_count) {
        const F unit = multiply(subtract(load(x + i), mean), scale);
        store(out + i, multiply_add(unit, load(norm.weight + i), load(norm.bias + i)));
    }
}

void add_to(float* x, const float* more, std::size_t width) {
    for (std::size_t i = 0; i < width; i += lane_count) {
        store(x + i, add(load(x + i), load(more + i)));
    }
}

// GELU, approximated by tanh: x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)).
void gelu(float* x, std::size_t width) {
    for (std::size_t i = 0; i < width; i += lane_count) {
        const F v = load(x + i);
        const F inner = multiply(v, multiply_add(multiply(v, v), all(0.044715f), all(1.0f)));
        const F e = exponential(multiply(inner, all(-1.5957691216057308f)));
        store(x + i, divide(v, add(e, all(1.0f))));
    }
}

// Where a pass keeps what it works on; carved from one block of memory.
struct Workspace {
    float *x, *normed, *branch, *wide;  // [tokens, width], and wide [tokens, the widest product]
    AttentionSpace attention;
    Quantised quantised;
    std::size_t bytes;
};

std::size_t greatest(std::size_t a, std::size_t b) { return a > b ? a : b; }

Workspace carve(const Network& network, std::size_t rows, void* memory) {
    std::size_t used = 0;
    auto take = [&](std::size_t bytes) {
        void* at = memory == nullptr ? nullptr : static_cast<char*>(memory) + used;
        used += (bytes + 63) / 64 * 64;
        return at;
    };
    auto floats = [&](std::size_t count) { return static_cast<float*>(take(count * sizeof(float))); };
    const std::size_t widest =
        greatest(greatest(3 * network.width, network.hidden), padded(network.vocabulary_size));
    const std::size_t inputs = greatest(network.width, network.hidden);
    std::size_t buckets = 0;
    for (std::size_t i = 0; i < network.layer_count; ++i) {
        buckets = greatest(buckets, network.layers[i].buckets);
    }
    Workspace w{};
    w.x = floats(most_tokens * network.width);
    w.normed = floats(most_tokens * network.width);
    w.branch = floats(most_tokens * network.width);
    w.wide = floats(most_tokens * widest);
    w.attention.query = floats(most_queries * network.head_width);
    w.attention.relative = floats(most_queries * buckets);
    w.attention.score_stride = rows + lane_count;
    w.attention.scores = floats(most_queries * w.attention.score_stride);
    w.attention.bias = floats(rows + 2 * lane_count);
    w.quantised.words = static_cast<std::int32_t*>(take(most_tokens * inputs / group * sizeof(std::int32_t)));
    w.quantised.scales = floats(most_tokens * inputs / block_inputs);
    w.quantised.starts =
        static_cast<std::int32_t*>(take(most_tokens * inputs / block_inputs * sizeof(std::int32_t)));
    w.bytes = used;
    return w;
}

std::size_t workspace_bytes(const Network& network, std::size_t rows) {
    return carve(network, rows, nullptr).bytes;
}

// A linear layer on rows `first` to `end` of x [.., inputs].
void linear(const Matrix& matrix, const Factor& factor, Workspace& w, const float* x, std::size_t first,
            std::size_t end, float* out) {
    w.quantised.blocks = matrix.inputs / block_inputs;
    in_parts<most_rows>(first, end,
                        [&](std::size_t row, auto rows) { quantise<value_of(rows)>(x, w.quantised, row); });
    multiply_matrix(matrix, w.quantised, first, end, out);
    for (std::size_t row = first; row < end && factor.rank > 0; ++row) {
        add_factor(factor, x + row * matrix.inputs, matrix.inputs, matrix.outputs,
                   out + row * padded(matrix.outputs));
    }
}

// x += more, and its norm, for tokens `first` to `end`.
void add_and_norm(const Network& network, const Norm& norm, const float* more, std::size_t first,
                  std::size_t end, Workspace& w) {
    for (std::size_t t = first; t < end; ++t) {
        add_to(w.x + t * network.width, more + t * network.width, network.width);
        layer_norm(w.x + t * network.width, norm, network.width, w.normed + t * network.width);
    }
}

void forward(const Network& network, LayerState* states, const float* plan_mask, const Tokens& pass,
             void* memory, float* logits) {
    std::size_t rows = 0;
    for (std::size_t i = 0; i < network.layer_count; ++i) {
        rows = greatest(rows, states[i].rows);
    }
    Workspace w = carve(network, rows, memory);
    const std::size_t width = network.width, count = pass.count;
    for (std::size_t t = 0; t < count; ++t) {
        memcpy(w.x + t * width, network.token_table + pass.tokens[t] * width, width * sizeof(float));
        add_to(w.x + t * width, network.metre_table + pass.metre[t] * width, width);
        layer_norm(w.x + t * width, network.first_norm, width, w.normed + t * width);
    }
    std::size_t first = 0;
    for (std::size_t i = 0; i < network.layer_count; ++i) {
        const Layer& layer = network.layers[i];
        LayerState& state = states[i];
        auto product = [&](Product which, const float* x, float* out) {
            linear(layer.products[which], state.factors[which], w, x, first, count, out);
        };
        product(qkv, w.normed, w.wide);
        if (i + 1 == network.layer_count && !pass.every) {
            first = count - 1;  // nothing above needs more than the last token
        }
        self_attention(network, layer, state, w.wide, count, first, w.attention, w.branch);
        product(attention_out, w.branch, w.wide);
        if (layer.has_chords) {
            add_and_norm(network, layer.chord_norm, w.wide, first, count, w);
            product(chord_query, w.normed, w.wide);
            chord_attention(network, state, plan_mask, w.wide, first, count, w.branch);
            product(chord_out, w.branch, w.wide);
        }
        add_and_norm(network, layer.feed_norm, w.wide, first, count, w);
        product(feed_in, w.normed, w.wide);
        for (std::size_t t = first; t < count; ++t) {
            gelu(w.wide + t * network.hidden, network.hidden);
        }
        product(feed_out, w.wide, w.branch);
        add_and_norm(network, layer.next_norm, w.branch, first, count, w);
    }
    if (!pass.every) {
        first = count - 1;
    }
    linear(network.output, Factor{}, w, w.normed, first, count, w.wide);
    for (std::size_t t = first; t < count; ++t) {
        const float* scores = w.wide + t * padded(network.vocabulary_size);
        float* out = logits + (t - first) * network.vocabulary_size;
        for (std::size_t v = 0; v < network.vocabulary_size; ++v) {
            out[v] = scores[v] + network.output_bias[v];
        }
    }
}

void pack(const std::uint8_t* rows, const float* scales, std::size_t inputs, std::size_t outputs,
          std::uint8_t* packed, float* packed_scales) {
    const std::size_t blocks = inputs / block_inputs;
    for (std::size_t o = 0; o < padded(outputs); ++o) {
        const std::size_t strip = o / lane_count, lane = o % lane_count;
        for (std::size_t b = 0; b < blocks; ++b) {
            const std::size_t block = strip * blocks + b;
            packed_scales[block * lane_count + lane] = o < outputs ? scales[o * blocks + b] : 0.0f;
            for (std::size_t k = 0; k < block_inputs; ++k) {
                const std::size_t at = (k / group * lane_count + lane) * group + k % group;
                packed[block * lane_count * block_inputs + at] =
                    o < outputs ? rows[(o * blocks + b) * block_inputs + k] : std::uint8_t{128};
            }
        }
    }
}

}  // namespace

extern const Kernels PLUGIN_BRIDGE_KERNELS;
#define PLUGIN_BRIDGE_TEXT_OF(name) #name
#define PLUGIN_BRIDGE_TEXT(name) PLUGIN_BRIDGE_TEXT_OF(name)
const Kernels PLUGIN_BRIDGE_KERNELS{PLUGIN_BRIDGE_TEXT(PLUGIN_BRIDGE_KERNELS), &pack, &workspace_bytes,
                                    &forward};

}  // namespace plugin_bridge

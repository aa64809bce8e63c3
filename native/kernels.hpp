// The arithmetic of one pass through the network, compiled once for each instruction set.
//
// Only plain structures and pointers cross this boundary: what is compiled for one instruction set must
// share no inline function (of ours or of the standard library) with what every processor runs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plugin_bridge {

constexpr std::size_t lane_count = 16;    // values that one operation works on
constexpr std::size_t block_inputs = 32;  // inputs that share a scale, as MatMulNBits has them
constexpr std::size_t most_tokens = 64;   // tokens in one pass

static constexpr std::size_t padded(std::size_t size) {
    return (size + lane_count - 1) / lane_count * lane_count;
}

// A matrix of 8-bit weights in the order its instruction set reads them: for 16 outputs and 32 inputs at a
// time, 512 weights and 16 scales.
struct Matrix {
    std::size_t inputs;
    std::size_t outputs;
    const std::uint8_t* weights;
    const float* scales;
};

// What an adapter adds to a product: x down up, float32 [inputs, rank] and [rank, outputs]; rank 0 is none.
struct Factor {
    std::size_t rank;
    const float* down;
    const float* up;
};

struct Norm {
    const float* weight;
    const float* bias;
};

// Distances that share a bucket, which is counted from the farthest.
struct Run {
    std::size_t nearest, farthest, bucket;
};

enum Product { qkv, attention_out, chord_query, chord_out, feed_in, feed_out, product_count };

struct Layer {
    Matrix products[product_count];  // the chords' are empty where a layer does not attend to them
    Norm chord_norm, feed_norm, next_norm;
    std::size_t span;
    // Vectors of the distances' buckets, [heads, head_width, buckets], the farthest bucket first and
    // `buckets` a multiple of 16, of which `bucket_count` are there; already divided by the root of
    // head_width. The distances below `exact` have a bucket each; those beyond come in runs, the farthest
    // first.
    const float* distance;
    std::size_t buckets, bucket_count, exact, run_count;
    const Run* runs;
    bool has_chords;
};

struct Network {
    std::size_t width, heads, head_width, hidden, vocabulary_size, metre_size, layer_count, plan_entries;
    const float* token_table;  // [vocabulary_size, width]
    const float* metre_table;  // [metre_size, width]
    Norm first_norm;
    const Layer* layers;
    Matrix output;
    const float* output_bias;  // [vocabulary_size]
};

// One layer's part of a stream: its cache [heads, rows, head_width], and the plan where it attends to it.
struct LayerState {
    float* keys;
    float* values;
    std::size_t rows;          // a multiple of 16
    std::size_t total;         // rows in use with the new ones
    const float* plan_keys;    // [heads, head_width, plan_entries]
    const float* plan_values;  // [heads, plan_entries, head_width]
    Factor factors[product_count];
};

// What a pass appends. Values that are not finite are not looked for: what they make of the logits is
// undefined, but they leave with their tokens, and nothing of them is in a stream that was rewound or reset.
struct Tokens {
    const std::int64_t* tokens;
    const std::int64_t* metre;
    std::size_t count;
    bool every;  // logits after every token, or after the last only
};

struct Kernels {
    const char* name;
    // From the rows of MatMulNBits ([outputs, inputs / 32, 32] and [outputs, inputs / 32], zero at 128).
    void (*pack)(const std::uint8_t* rows, const float* scales, std::size_t inputs, std::size_t outputs,
                 std::uint8_t* packed, float* packed_scales);
    std::size_t (*workspace_bytes)(const Network&, std::size_t most_rows_of_a_layer);
    // Appends the tokens to the caches; logits [count or 1, vocabulary_size]. `workspace` is 64-byte aligned.
    void (*forward)(const Network&, LayerState*, const float* plan_mask, const Tokens&, void* workspace,
                    float* logits);
};

extern const Kernels generic;
#if defined(PLUGIN_BRIDGE_X86)
extern const Kernels avx2, avx512;
bool has_avx2();
bool has_avx512();
#endif

// The kernels that this processor can run, the fastest first; `count` of them.
const Kernels* const* available_kernels(std::size_t* count);

}  // namespace plugin_bridge

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

constexpr float norm_epsilon = 1e-5f;
constexpr std::size_t widest_rank = 1024;  // of an adapter, worked on at a time

template <int value>
struct Number {};
template <int value>
constexpr int value_of(Number<value>) {
    return value;
}

// Calls work(first, Number<n>) on parts of `most` (a power of two), then of half as many, and so on to `end`.
template <int most, class Work>
void in_parts(std::size_t first, std::size_t end, Work work) {
    for (; first + most <= end; first += most) {
        work(first, Number<most>{});
    }
    if constexpr (most > 1) {
        in_parts<most / 2>(first, end, work);
    }
}

// e to the power of each lane (Cephes' expf: range reduction and a polynomial of degree 5), good to 2 ulp.
inline F exponential(F x) {
    x = lesser(greater(x, all(-87.0f)), all(87.0f));
    const F n = nearest(multiply(x, all(1.44269504088896341f)));
    F r = multiply_add(n, all(-0.693359375f), x);
    r = multiply_add(n, all(2.12194440e-4f), r);
    constexpr float terms[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 0.5f};
    F p = all(1.9875691500e-4f);
    for (const float term : terms) {
        p = multiply_add(p, r, all(term));
    }
    return times_power_of_two(add(multiply_add(p, multiply(r, r), r), all(1.0f)), n);
}

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

// Activations in 8 bits, words of `group` values, and for each block of 32 a scale and what its products
// begin at, as weights are kept 128 too large: -128 times the block's total. Rows that are multiplied
// together lie together: a part of n rows is [blocks, words of a block, n], and [blocks, n].
struct Quantised {
    std::int32_t* words;
    float* scales;
    std::int32_t* starts;
    std::size_t blocks;
};

constexpr std::size_t block_words = block_inputs / group;

// The part of `rows` rows that begins at `row`.
template <int rows>
void quantise(const float* x, const Quantised& q, std::size_t row) {
    std::int32_t* words = q.words + row * q.blocks * block_words;
    float* scales = q.scales + row * q.blocks;
    std::int32_t* starts = q.starts + row * q.blocks;
    for (std::size_t b = 0; b < q.blocks; ++b) {
        for (int r = 0; r < rows; ++r) {
            const float* from = x + ((row + r) * q.blocks + b) * block_inputs;
            const F low = load(from), high = load(from + lane_count);
            const float peak = largest(greater(magnitude(low), magnitude(high)));
            const float steps = peak > 1e-30f ? 127.0f / peak : 0.0f;  // where it would overflow, all is 0
            const F inverse = all(steps);
            std::int32_t apart[block_words];
            std::int32_t* own = rows == 1 ? words + b * block_words : apart;
            const std::int32_t total = store_words(own, multiply(low, inverse)) +
                                       store_words(own + block_words / 2, multiply(high, inverse));
            for (std::size_t g = 0; rows > 1 && g < block_words; ++g) {
                words[(b * block_words + g) * rows + r] = own[g];
            }
            scales[b * rows + r] = steps > 0.0f ? peak / 127.0f : 0.0f;
            starts[b * rows + r] = -128 * total;
        }
    }
}

// The part of `rows` rows that begins at `row`, times one strip of 16 outputs.
template <int rows>
void multiply_strip(const Quantised& x, std::size_t row, const std::uint8_t* weights, const float* scales,
                    float* out, std::size_t stride) {
    const std::int32_t* words = x.words + row * x.blocks * block_words;
    const float* own_scales = x.scales + row * x.blocks;
    const std::int32_t* starts = x.starts + row * x.blocks;
    F sums_so_far[rows];
    PLUGIN_BRIDGE_UNROLL
    for (int r = 0; r < rows; ++r) {
        sums_so_far[r] = all(0.0f);
    }
    for (std::size_t b = 0; b < x.blocks; ++b) {
        F products[rows];
        multiply_block<rows>(weights + b * lane_count * block_inputs, words + b * block_words * rows,
                             starts + b * rows, products);
        const F scale = load(scales + b * lane_count);
        PLUGIN_BRIDGE_UNROLL
        for (int r = 0; r < rows; ++r) {
            const F both = multiply(scale, all(own_scales[b * rows + r]));
            sums_so_far[r] = multiply_add(products[r], both, sums_so_far[r]);
        }
    }
    PLUGIN_BRIDGE_UNROLL
    for (int r = 0; r < rows; ++r) {
        store(out + r * stride, sums_so_far[r]);
    }
}

// out [rows, padded outputs] from rows `first` to `end` of x; out's row 0 is x's row 0.
void multiply_matrix(const Matrix& matrix, const Quantised& x, std::size_t first, std::size_t end,
                     float* out) {
    const std::size_t stride = padded(matrix.outputs);
    for (std::size_t strip = 0; strip < stride / lane_count; ++strip) {
        const std::uint8_t* weights = matrix.weights + strip * lane_count * matrix.inputs;
        const float* scales = matrix.scales + strip * lane_count * x.blocks;
        float* to = out + strip * lane_count;
        in_parts<most_rows>(first, end, [&](std::size_t row, auto rows) {
            multiply_strip<value_of(rows)>(x, row, weights, scales, to + row * stride, stride);
        });
    }
}

// Adds x down up to a row of out.
void add_factor(const Factor& factor, const float* x, std::size_t inputs, std::size_t outputs, float* out) {
    float inner[widest_rank];
    for (std::size_t from = 0; from < factor.rank; from += widest_rank) {
        const std::size_t rank = factor.rank - from < widest_rank ? factor.rank - from : widest_rank;
        memset(inner, 0, rank * sizeof(float));
        for (std::size_t i = 0; i < inputs; ++i) {
            const float* down = factor.down + i * factor.rank + from;
            for (std::size_t r = 0; r < rank; ++r) {
                inner[r] += x[i] * down[r];
            }
        }
        for (std::size_t r = 0; r < rank; ++r) {
            const float* up = factor.up + (from + r) * outputs;
            for (std::size_t o = 0; o < outputs; ++o) {
                out[o] += inner[r] * up[o];
            }
        }
    }
}

// Where a pass keeps what it works on; carved from one block of memory.
struct Workspace {
    float *x, *normed, *branch, *wide;  // [tokens, width], and wide [tokens, the widest product]
    float *query, *relative;            // of two neighbouring queries
    float *scores, *bias;               // of all rows; scores for two queries, `score_stride` apart
    std::size_t score_stride;
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
    w.query = floats(2 * network.head_width);
    w.relative = floats(2 * buckets);
    w.score_stride = rows + lane_count;
    w.scores = floats(2 * w.score_stride);
    w.bias = floats(rows + 2 * lane_count);
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

// What the distance of each key adds to a query's scores: bias[k] for the keys that it sees, `last` its own.
// Buckets are the farthest first, so the near distances, a bucket each, lie as the keys do.
void spread(const Layer& layer, const float* relative, std::size_t first, std::size_t last, float* bias) {
    const std::size_t exact = layer.exact < last - first + 1 ? layer.exact : last - first + 1;
    for (const Run* run = layer.runs; run != layer.runs + layer.run_count; ++run) {
        if (run->nearest > last - first) {
            continue;
        }
        const std::size_t farthest = run->farthest < last - first ? run->farthest : last - first;
        const F value = all(relative[run->bucket]);
        for (std::size_t k = last - farthest; k <= last - run->nearest; k += lane_count) {
            store(bias + k, value);  // what it writes too far, the next run or the exact ones mend
        }
    }
    memcpy(bias + last + 1 - exact, relative + layer.bucket_count - exact, exact * sizeof(float));
}

// Scores of keys `from` to `end`, whole groups of 16, for each query (head_width = 16 parts).
template <int parts, int queries>
void score(const float* query, const float* keys, std::size_t from, std::size_t end, std::size_t stride,
           float* scores) {
    constexpr std::size_t together = lane_count / queries;
    F q[queries * parts];
    PLUGIN_BRIDGE_UNROLL
    for (int i = 0; i < queries * parts; ++i) {
        q[i] = load(query + i * lane_count);
    }
    for (std::size_t k = from; k < end; k += together) {
        F products[lane_count];
        PLUGIN_BRIDGE_UNROLL
        for (std::size_t n = 0; n < together; ++n) {
            PLUGIN_BRIDGE_UNROLL
            for (int j = 0; j < queries; ++j) {
                products[j * together + n] = all(0.0f);
            }
            PLUGIN_BRIDGE_UNROLL
            for (int p = 0; p < parts; ++p) {
                const F part = load(keys + ((k + n) * parts + p) * lane_count);
                PLUGIN_BRIDGE_UNROLL
                for (int j = 0; j < queries; ++j) {
                    F& product = products[j * together + n];
                    product = multiply_add(q[j * parts + p], part, product);
                }
            }
        }
        if constexpr (queries == 2) {
            store_halves(scores + k, scores + stride + k, sums(products));
        } else {
            store(scores + k, sums(products));
        }
    }
}

// The sum of the values of keys `from` to `end`, each times its weight, for each query.
template <int parts, int queries>
void weigh(const float* weights, std::size_t stride, const float* values, std::size_t from, std::size_t end,
           float* out, std::size_t out_stride) {
    F even[queries * parts], odd[queries * parts];
    PLUGIN_BRIDGE_UNROLL
    for (int i = 0; i < queries * parts; ++i) {
        even[i] = odd[i] = all(0.0f);
    }
    const auto add_one = [&](std::size_t k, F* sums_so_far) {
        PLUGIN_BRIDGE_UNROLL
        for (int p = 0; p < parts; ++p) {
            const F value = load(values + (k * parts + p) * lane_count);
            PLUGIN_BRIDGE_UNROLL
            for (int j = 0; j < queries; ++j) {
                F& sum_so_far = sums_so_far[j * parts + p];
                sum_so_far = multiply_add(all(weights[j * stride + k]), value, sum_so_far);
            }
        }
    };
    std::size_t k = from;
    if (k % 2 != 0) {
        add_one(k++, odd);
    }
    for (; k + 2 <= end; k += 2) {
        add_one(k, even);
        add_one(k + 1, odd);
    }
    if (k < end) {
        add_one(k, even);
    }
    PLUGIN_BRIDGE_UNROLL
    for (int j = 0; j < queries; ++j) {
        PLUGIN_BRIDGE_UNROLL
        for (int p = 0; p < parts; ++p) {
            store(out + j * out_stride + p * lane_count, add(even[j * parts + p], odd[j * parts + p]));
        }
    }
}

// Attention of `queries` neighbours, the first of them at row `at`, to one head's keys and values. Rows are
// worked on in the same groups of 16 whoever asks, and what a query does not see weighs exactly nothing.
template <int parts, int queries>
void attend(const Layer& layer, const float* keys, const float* values, std::size_t at, const Workspace& w,
            float* out, std::size_t out_stride) {
    const std::size_t stride = w.score_stride;
    const auto first_of = [&](std::size_t last) { return last + 1 < layer.span ? 0 : last + 1 - layer.span; };
    const std::size_t from = first_of(at) / lane_count * lane_count;
    const std::size_t end = padded(at + queries);
    score<parts, queries>(w.query, keys, from, end, stride, w.scores);
    F shares[queries];
    for (std::size_t j = 0; j < queries; ++j) {
        float* scores = w.scores + j * stride;
        const std::size_t last = at + j, first = first_of(last);
        spread(layer, w.relative + j * layer.buckets, first, last, w.bias);
        const auto outside = [&](float value) {
            for (std::size_t k = from; k < first; ++k) {
                scores[k] = value;
            }
            for (std::size_t k = last + 1; k < end; ++k) {
                scores[k] = value;
            }
        };
        for (std::size_t k = from; k < end; k += lane_count) {
            store(scores + k, add(load(scores + k), load(w.bias + k)));
        }
        outside(-3.4e38f);
        F highest = load(scores + from);
        for (std::size_t k = from + lane_count; k < end; k += lane_count) {
            highest = greater(highest, load(scores + k));
        }
        const F peak = all(largest(highest));
        for (std::size_t k = from; k < end; k += lane_count) {
            store(scores + k, exponential(subtract(load(scores + k), peak)));
        }
        outside(0.0f);
        F total = all(0.0f);
        for (std::size_t k = from; k < end; k += lane_count) {
            total = add(total, load(scores + k));
        }
        shares[j] = all(1.0f / sum(total));
    }
    weigh<parts, queries>(w.scores, stride, values, first_of(at), at + queries, out, out_stride);
    for (std::size_t j = 0; j < queries; ++j) {
        for (int p = 0; p < parts; ++p) {
            float* part = out + j * out_stride + p * lane_count;
            store(part, multiply(load(part), shares[j]));
        }
    }
}

using Attend = void (*)(const Layer&, const float*, const float*, std::size_t, const Workspace&, float*,
                        std::size_t);

// For one query, and for two at once.
struct Attends {
    Attend one, two;
};

Attends attends_of(std::size_t head_width) {
    switch (head_width / lane_count) {
        case 1:
            return {&attend<1, 1>, &attend<1, 2>};
        case 2:
            return {&attend<2, 1>, &attend<2, 2>};
        case 3:
            return {&attend<3, 1>, &attend<3, 2>};
        case 4:
            return {&attend<4, 1>, &attend<4, 2>};
        case 6:
            return {&attend<6, 1>, &attend<6, 2>};
        default:
            return {&attend<8, 1>, &attend<8, 2>};
    }
}

// What each bucket of distances adds to a query's scores.
void relate(const float* query, const float* distance, std::size_t head_width, std::size_t buckets,
            float* relative) {
    constexpr std::size_t together = 4;
    std::size_t b = 0;
    for (; b + together * lane_count <= buckets; b += together * lane_count) {
        F sums_so_far[together] = {all(0.0f), all(0.0f), all(0.0f), all(0.0f)};
        for (std::size_t i = 0; i < head_width; ++i) {
            const F q = all(query[i]);
            for (std::size_t n = 0; n < together; ++n) {
                const F vector = load(distance + i * buckets + b + n * lane_count);
                sums_so_far[n] = multiply_add(q, vector, sums_so_far[n]);
            }
        }
        for (std::size_t n = 0; n < together; ++n) {
            store(relative + b + n * lane_count, sums_so_far[n]);
        }
    }
    for (; b < buckets; b += lane_count) {
        F sum_so_far = all(0.0f);
        for (std::size_t i = 0; i < head_width; ++i) {
            sum_so_far = multiply_add(all(query[i]), load(distance + i * buckets + b), sum_so_far);
        }
        store(relative + b, sum_so_far);
    }
}

// Self-attention of tokens `first` to `count`, from w.wide (queries, keys, values) to w.branch.
void self_attention(const Network& network, const Layer& layer, const LayerState& state, std::size_t count,
                    std::size_t first, Workspace& w) {
    const std::size_t head_width = network.head_width, width = network.width, before = state.total - count;
    const F scale = all(1.0f / sqrtf(static_cast<float>(head_width)));
    const Attends attends = attends_of(head_width);
    for (std::size_t head = 0; head < network.heads; ++head) {
        float* keys = state.keys + head * state.rows * head_width;
        float* values = state.values + head * state.rows * head_width;
        for (std::size_t t = 0; t < count; ++t) {
            const float* own = w.wide + t * 3 * width + head * head_width;
            memcpy(keys + (before + t) * head_width, own + width, head_width * sizeof(float));
            memcpy(values + (before + t) * head_width, own + 2 * width, head_width * sizeof(float));
        }
        const float* distance = layer.distance + head * head_width * layer.buckets;
        for (std::size_t t = first; t < count;) {
            const std::size_t together = t + 2 <= count ? 2 : 1;
            for (std::size_t j = 0; j < together; ++j) {
                const float* query = w.wide + (t + j) * 3 * width + head * head_width;
                for (std::size_t i = 0; i < head_width; i += lane_count) {
                    store(w.query + j * head_width + i, multiply(load(query + i), scale));
                }
                relate(query, distance, head_width, layer.buckets, w.relative + j * layer.buckets);
            }
            const Attend attend_now = together == 2 ? attends.two : attends.one;
            attend_now(layer, keys, values, before + t, w, w.branch + t * width + head * head_width, width);
            t += together;
        }
    }
}

// Attention to the chords around now, from queries in w.wide to w.branch.
void chord_attention(const Network& network, const LayerState& state, const float* mask, std::size_t first,
                     std::size_t end, Workspace& w) {
    const std::size_t head_width = network.head_width, entries = network.plan_entries;
    const std::size_t whole = entries / lane_count * lane_count;
    for (std::size_t t = first; t < end; ++t) {
        for (std::size_t head = 0; head < network.heads; ++head) {
            const float* query = w.wide + t * network.width + head * head_width;
            const float* keys = state.plan_keys + head * head_width * entries;
            const float* values = state.plan_values + head * entries * head_width;
            float scores[2 * lane_count] = {};
            for (std::size_t e = 0; e < whole; e += lane_count) {
                F scored = load(mask + e);
                for (std::size_t i = 0; i < head_width; ++i) {
                    scored = multiply_add(all(query[i]), load(keys + i * entries + e), scored);
                }
                store(scores + e, scored);
            }
            for (std::size_t e = whole; e < entries; ++e) {
                scores[e] = mask[e];
                for (std::size_t i = 0; i < head_width; ++i) {
                    scores[e] += query[i] * keys[i * entries + e];
                }
            }
            float peak = scores[0];
            for (std::size_t e = 1; e < entries; ++e) {
                peak = scores[e] > peak ? scores[e] : peak;
            }
            for (std::size_t e = entries; e < padded(entries); ++e) {
                scores[e] = peak;
            }
            for (std::size_t e = 0; e < entries; e += lane_count) {
                store(scores + e, exponential(subtract(load(scores + e), all(peak))));
            }
            float total = 0.0f;
            for (std::size_t e = 0; e < entries; ++e) {
                total += scores[e];
            }
            float* out = w.branch + t * network.width + head * head_width;
            for (std::size_t i = 0; i < head_width; i += lane_count) {
                F seen = all(0.0f);
                for (std::size_t e = 0; e < entries; ++e) {
                    seen = multiply_add(all(scores[e]), load(values + e * head_width + i), seen);
                }
                store(out + i, multiply(seen, all(1.0f / total)));
            }
        }
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
        self_attention(network, layer, state, count, first, w);
        product(attention_out, w.branch, w.wide);
        if (layer.has_chords) {
            add_and_norm(network, layer.chord_norm, w.wide, first, count, w);
            product(chord_query, w.normed, w.wide);
            chord_attention(network, state, plan_mask, first, count, w);
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

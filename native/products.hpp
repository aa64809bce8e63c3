// Products of activations with matrices of 8-bit weights, and what adapters add to them. Included by
// kernels.cpp alone, inside its namespace, after lanes.hpp.

constexpr std::size_t widest_rank = 1024;  // of an adapter, worked on at a time

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

// Attention to what was, and to the chords around now. Included by kernels.cpp alone, inside its namespace,
// after lanes.hpp.

constexpr std::size_t most_queries = 8;  // that attend to keys together
constexpr std::size_t near_rows = 64;    // whose keys, or values, stay in the nearest cache meanwhile
constexpr int weighed_together = most_sums < int{most_queries} ? most_sums : int{most_queries};

// Where attention keeps what it works on: for each query its vector, what each bucket of distances adds to its
// scores, and its scores of all rows, `score_stride` apart; and what distances add for one of them.
struct AttentionSpace {
    float *query, *relative, *scores, *bias;
    std::size_t score_stride;
};

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
    constexpr std::size_t together = lane_count / queries, side_by_side = 2;
    for (std::size_t k = from; k < end; k += together) {
        Folded products[lane_count];
        PLUGIN_BRIDGE_ROLLED
        for (std::size_t n = 0; n < together; n += side_by_side) {
            F so_far[queries * side_by_side];
            PLUGIN_BRIDGE_UNROLL
            for (std::size_t i = 0; i < queries * side_by_side; ++i) {
                so_far[i] = all(0.0f);
            }
            PLUGIN_BRIDGE_UNROLL
            for (int p = 0; p < parts; ++p) {
                F part[side_by_side];
                PLUGIN_BRIDGE_UNROLL
                for (std::size_t i = 0; i < side_by_side; ++i) {
                    part[i] = load_once(keys + ((k + n + i) * parts + p) * lane_count);
                    prefetch_for<queries>(keys + ((k + n + i + near_rows) * parts + p) * lane_count);
                }
                PLUGIN_BRIDGE_UNROLL
                for (int j = 0; j < queries; ++j) {
                    const F q = load_once(query + (j * parts + p) * lane_count);
                    PLUGIN_BRIDGE_UNROLL
                    for (std::size_t i = 0; i < side_by_side; ++i) {
                        F& product = so_far[j * side_by_side + i];
                        product = multiply_add(q, part[i], product);
                    }
                }
            }
            PLUGIN_BRIDGE_UNROLL
            for (std::size_t i = 0; i < queries * side_by_side; ++i) {
                products[i / side_by_side * together + n + i % side_by_side] = fold(so_far[i]);
            }
        }
        if constexpr (queries == 2) {
            store_halves(scores + k, scores + stride + k, sums(products));
        } else {
            store(scores + k, sums(products));
        }
    }
}

// Adds the values of keys `from` to `end`, each times its weight, to the totals [2, parts] of each query: even
// keys' to the first, odd ones' to the second. `count` parts of them, the first of which is `part`.
template <int parts, int queries, int count>
void weigh(const float* weights, std::size_t stride, const float* values, std::size_t from, std::size_t end,
           std::size_t part, float* totals) {
    for (std::size_t odd = 0; odd < 2; ++odd) {
        float* own = totals + (odd * parts + part) * lane_count;
        F so_far[queries * count];
        PLUGIN_BRIDGE_UNROLL
        for (int i = 0; i < queries * count; ++i) {
            so_far[i] = load(own + (i / count * 2 * parts + i % count) * lane_count);
        }
        for (std::size_t k = from + (from % 2 != odd); k < end; k += 2) {
            PLUGIN_BRIDGE_UNROLL
            for (int p = 0; p < count; ++p) {
                const F value = load(values + (k * parts + part + p) * lane_count);
                prefetch_for<queries>(values + ((k + near_rows) * parts + part + p) * lane_count);
                PLUGIN_BRIDGE_UNROLL
                for (int j = 0; j < queries; ++j) {
                    F& sum_so_far = so_far[j * count + p];
                    sum_so_far = multiply_add(all(weights[j * stride + k]), value, sum_so_far);
                }
            }
        }
        PLUGIN_BRIDGE_UNROLL
        for (int i = 0; i < queries * count; ++i) {
            store(own + (i / count * 2 * parts + i % count) * lane_count, so_far[i]);
        }
    }
}

std::size_t first_seen(const Layer& layer, std::size_t last) {
    return last + 1 < layer.span ? 0 : last + 1 - layer.span;
}

// Makes of the scores `from` to `end` (whole groups of 16) of the query at row `last` what each key weighs,
// exactly nothing where it does not see the key; returns what all of it is to be multiplied with.
float weights_of(const Layer& layer, const float* relative, std::size_t last, std::size_t from,
                 std::size_t end, float* scores, float* bias) {
    const std::size_t first = first_seen(layer, last);
    spread(layer, relative, first, last, bias);
    const auto outside = [&](float value) {
        for (std::size_t k = from; k < first; ++k) {
            scores[k] = value;
        }
        for (std::size_t k = last + 1; k < end; ++k) {
            scores[k] = value;
        }
    };
    for (std::size_t k = from; k < end; k += lane_count) {
        store(scores + k, add(load(scores + k), load(bias + k)));
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
    return 1.0f / sum(total);
}

// Attention of `queries` neighbours, the first of them at row `at`, to one head's keys and values. All of
// them read a block of rows before the next block is read. Rows are worked on in the same groups of 16 and
// added up in the same order whoever asks.
template <int parts>
void attend(const Layer& layer, const float* keys, const float* values, std::size_t at, std::size_t queries,
            const AttentionSpace& w, float* out, std::size_t out_stride) {
    const std::size_t stride = w.score_stride, first = first_seen(layer, at);
    const std::size_t from = first / lane_count * lane_count, end = padded(at + queries);
    const auto block_end = [](std::size_t k, std::size_t last) {
        const std::size_t next = (k / near_rows + 1) * near_rows;
        return next < last ? next : last;
    };
    for (std::size_t k = from; k < end; k = block_end(k, end)) {
        in_parts<2>(0, queries, [&](std::size_t j, auto n) {
            score<parts, value_of(n)>(w.query + j * parts * lane_count, keys, k, block_end(k, end), stride,
                                      w.scores + j * stride);
        });
    }
    float shares[most_queries];
    for (std::size_t j = 0; j < queries; ++j) {
        shares[j] = weights_of(layer, w.relative + j * layer.buckets, at + j, from, end,
                               w.scores + j * stride, w.bias);
    }
    constexpr std::size_t size = 2 * parts * lane_count;
    float totals[most_queries * size];
    memset(totals, 0, queries * size * sizeof(float));
    for (std::size_t k = first; k < at + queries; k = block_end(k, at + queries)) {
        in_parts<weighed_together>(0, queries, [&](std::size_t j, auto n) {
            constexpr int together = value_of(decltype(n){});
            in_parts<most_sums / together>(0, parts, [&](std::size_t part, auto count) {
                weigh<parts, together, value_of(count)>(w.scores + j * stride, stride, values, k,
                                                           block_end(k, at + queries), part, totals + j * size);
            });
        });
    }
    for (std::size_t j = 0; j < queries; ++j) {
        for (std::size_t i = 0; i < parts * lane_count; i += lane_count) {
            const float* even = totals + j * size + i;
            store(out + j * out_stride + i,
                  multiply(add(load(even), load(even + size / 2)), all(shares[j])));
        }
    }
}

using Attend = void (*)(const Layer&, const float*, const float*, std::size_t, std::size_t,
                        const AttentionSpace&, float*, std::size_t);

Attend attend_for(std::size_t head_width) {
    switch (head_width / lane_count) {
        case 1:
            return &attend<1>;
        case 2:
            return &attend<2>;
        case 3:
            return &attend<3>;
        case 4:
            return &attend<4>;
        case 6:
            return &attend<6>;
        default:
            return &attend<8>;
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

// Self-attention of tokens `first` to `count`, from qkv [count, 3 width] (queries, keys, values) to out [count,
// width].
void self_attention(const Network& network, const Layer& layer, const LayerState& state, const float* qkv,
                    std::size_t count, std::size_t first, const AttentionSpace& w, float* out) {
    const std::size_t head_width = network.head_width, width = network.width, before = state.total - count;
    const F scale = all(1.0f / sqrtf(static_cast<float>(head_width)));
    const Attend attend = attend_for(head_width);
    for (std::size_t head = 0; head < network.heads; ++head) {
        float* keys = state.keys + head * state.rows * head_width;
        float* values = state.values + head * state.rows * head_width;
        for (std::size_t t = 0; t < count; ++t) {
            const float* own = qkv + t * 3 * width + head * head_width;
            memcpy(keys + (before + t) * head_width, own + width, head_width * sizeof(float));
            memcpy(values + (before + t) * head_width, own + 2 * width, head_width * sizeof(float));
        }
        const float* distance = layer.distance + head * head_width * layer.buckets;
        for (std::size_t t = first; t < count; t += most_queries) {
            const std::size_t queries = count - t < most_queries ? count - t : most_queries;
            for (std::size_t j = 0; j < queries; ++j) {
                const float* query = qkv + (t + j) * 3 * width + head * head_width;
                for (std::size_t i = 0; i < head_width; i += lane_count) {
                    store(w.query + j * head_width + i, multiply(load(query + i), scale));
                }
                relate(query, distance, head_width, layer.buckets, w.relative + j * layer.buckets);
            }
            attend(layer, keys, values, before + t, queries, w, out + t * width + head * head_width, width);
        }
    }
}

// Attention to the chords around now, of tokens `first` to `end`, from queries to out [.., width].
void chord_attention(const Network& network, const LayerState& state, const float* mask, const float* queries,
                     std::size_t first, std::size_t end, float* out) {
    const std::size_t head_width = network.head_width, entries = network.plan_entries;
    const std::size_t whole = entries / lane_count * lane_count;
    for (std::size_t t = first; t < end; ++t) {
        for (std::size_t head = 0; head < network.heads; ++head) {
            const float* query = queries + t * network.width + head * head_width;
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
            float* to = out + t * network.width + head * head_width;
            for (std::size_t i = 0; i < head_width; i += lane_count) {
                F seen = all(0.0f);
                for (std::size_t e = 0; e < entries; ++e) {
                    seen = multiply_add(all(scores[e]), load(values + e * head_width + i), seen);
                }
                store(to + i, multiply(seen, all(1.0f / total)));
            }
        }
    }
}

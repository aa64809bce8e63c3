// The network with its weights, and one stream's state on it: what kernels.hpp works on, owned and checked.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels.hpp"

namespace plugin_bridge {

// Memory that begins at a cache line.
template <class Value>
class Aligned {
public:
    explicit Aligned(std::size_t count) : memory_(count * sizeof(Value) + 64) {}
    Value* data() noexcept {
        const auto at = reinterpret_cast<std::uintptr_t>(memory_.data());
        return reinterpret_cast<Value*>((at + 63) / 64 * 64);
    }

private:
    std::vector<std::uint8_t> memory_;
};

struct Sizes {
    std::size_t heads, head_width, context, window;
    std::vector<std::size_t> chord_layers;
    std::size_t layers;  // above layer 0
    std::size_t plan_entries;
};

// A named array of the graph.
struct Tensor {
    const void* data;
    std::vector<std::size_t> shape;
};
enum class Type { float32, uint8, int64 };
// Throws std::invalid_argument where there is no such tensor of that type.
using FindTensor = std::function<Tensor(const std::string& name, Type type)>;

// What a linear layer is called in the graph, after the number of its layer.
const char* name_of(Product product);

class LoadedNetwork {
public:
    // Copies the weights it finds under their names in the graph. Throws std::invalid_argument for sizes that
    // the kernels cannot work with, and for tensors that are missing or of another shape.
    LoadedNetwork(const Kernels& kernels, const Sizes& sizes, const FindTensor& find);
    LoadedNetwork(const LoadedNetwork&) = delete;
    LoadedNetwork& operator=(const LoadedNetwork&) = delete;

    const Kernels& kernels() const noexcept { return kernels_; }
    const Network& view() const noexcept { return view_; }

private:
    const float* floats(const FindTensor& find, const std::string& name,
                        const std::vector<std::size_t>& shape);
    Norm norm(const FindTensor& find, const std::string& name);
    Matrix matrix(const FindTensor& find, const std::string& name, std::size_t inputs, std::size_t outputs);
    void take_distances(const FindTensor& find, const std::string& vectors, const std::string& buckets,
                        Layer& layer);

    const Kernels& kernels_;
    Network view_{};
    std::vector<Layer> layers_;
    std::vector<Aligned<float>> floats_;
    std::vector<Aligned<std::uint8_t>> bytes_;
    std::vector<std::vector<Run>> runs_;
};

// One stream on a network. The caches, the plan and the factors are the caller's memory, kept alive by him.
class Stream {
public:
    Stream(std::shared_ptr<const LoadedNetwork> network, std::vector<LayerState> states,
           const float* plan_mask);

    // Appends the tokens behind `totals` rows (layer 0's, the others'); logits [count or 1, vocabulary_size].
    // Throws std::invalid_argument for ids out of range and rows that are not there, std::runtime_error when
    // another thread is at it.
    void extend(const std::vector<std::int64_t>& tokens, const std::vector<std::int64_t>& metre, bool every,
                std::size_t context_used, std::size_t window_used, float* logits);

    const LoadedNetwork& network() const noexcept { return *network_; }

private:
    std::shared_ptr<const LoadedNetwork> network_;
    std::vector<LayerState> states_;
    const float* plan_mask_;
    Aligned<std::uint8_t> workspace_;
    std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

}  // namespace plugin_bridge

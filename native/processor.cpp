// Which instruction sets this processor and its operating system have.
#if defined(_MSC_VER)
#include <intrin.h>
#endif

#include "kernels.hpp"

namespace plugin_bridge {

#if defined(_MSC_VER)

namespace {
bool bit(const int (&words)[4], int word, int index) { return ((words[word] >> index) & 1) != 0; }

// Whether the system saves the registers that `mask` names (Intel SDM, volume 1, 13.3).
bool saves(unsigned long long mask) {
    int words[4];
    __cpuid(words, 1);
    return bit(words, 2, 27) && (_xgetbv(0) & mask) == mask;
}
}  // namespace

bool has_avx2() {
    int first[4], seventh[4];
    __cpuid(first, 1);
    __cpuidex(seventh, 7, 0);
    return saves(0x6) && bit(first, 2, 12) && bit(seventh, 1, 5);
}

bool has_avx512() {
    int words[4];
    __cpuidex(words, 7, 0);
    return has_avx2() && saves(0xe6) && bit(words, 1, 16) && bit(words, 1, 17) && bit(words, 1, 30) &&
           bit(words, 1, 31) && bit(words, 2, 11);
}

#else

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

#endif

}  // namespace plugin_bridge

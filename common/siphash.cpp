#include "common/siphash.hpp"

namespace sluice {

namespace {

uint64_t little_endian(const void* bytes, size_t count) {
    const auto* p = static_cast<const uint8_t*>(bytes);
    uint64_t word = 0;
    for (size_t i = 0; i < count; i++) {
        word |= static_cast<uint64_t>(p[i]) << (8 * i);
    }
    return word;
}

uint64_t rotate(uint64_t word, int bits) {
    return word << bits | word >> (64 - bits);
}

struct State {
    uint64_t v0, v1, v2, v3;

    void rounds(int count) {
        for (int i = 0; i < count; i++) {
            v0 += v1;
            v2 += v3;
            v1 = rotate(v1, 13) ^ v0;
            v3 = rotate(v3, 16) ^ v2;
            v0 = rotate(v0, 32);
            v2 += v1;
            v0 += v3;
            v1 = rotate(v1, 17) ^ v2;
            v3 = rotate(v3, 21) ^ v0;
            v2 = rotate(v2, 32);
        }
    }

    void absorb(uint64_t word, int count) {
        v3 ^= word;
        rounds(count);
        v0 ^= word;
    }
};

}  // namespace

template <int kRoundsPerWord, int kRoundsAtEnd>
uint64_t siphash(const uint8_t key[kSipKeyBytes], std::string_view text) noexcept {
    const uint64_t k0 = little_endian(key, 8);
    const uint64_t k1 = little_endian(key + 8, 8);
    State state = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                   k1 ^ 0x7465646279746573};
    const uint64_t length = static_cast<uint64_t>(text.size()) << 56;
    while (text.size() >= 8) {
        state.absorb(little_endian(text.data(), 8), kRoundsPerWord);
        text.remove_prefix(8);
    }
    state.absorb(length | little_endian(text.data(), text.size()), kRoundsPerWord);
    state.v2 ^= 0xff;
    state.rounds(kRoundsAtEnd);
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

template uint64_t siphash<1, 3>(const uint8_t key[kSipKeyBytes], std::string_view text) noexcept;
template uint64_t siphash<2, 4>(const uint8_t key[kSipKeyBytes], std::string_view text) noexcept;

}  // namespace sluice

#include "common/siphash.hpp"

#include <array>

#include "t/unit/cmocka.hpp"

using namespace sluice;

using Key = std::array<uint8_t, kSipKeyBytes>;

static std::string counting(size_t bytes) {
    std::string text;
    for (size_t i = 0; i < bytes; i++) {
        text.push_back(static_cast<char>(i));
    }
    return text;
}

struct Known {
    size_t bytes;
    uint64_t hash;
};

// From the authors' vectors: key 00 01 .. 0f, text 00 01 ...
static void the_published_results_of_2_4_hold(void**) {
    Key key;
    for (size_t i = 0; i < key.size(); i++) {
        key[i] = static_cast<uint8_t>(i);
    }
    const Known known[] = {{0, 0x726fdb47dd0e0e31},  {1, 0x74f839c593dc67fd},
                           {7, 0xab0200f58b01d137},  {8, 0x93f5f5799a932462},
                           {9, 0x9e0082df0ba9e4b0},  {15, 0xa129ca6149be45e5},
                           {16, 0x3f2acc7f57c29bdb}, {63, 0x958a324ceb064572}};
    for (const Known& one : known) {
        assert_true((siphash<2, 4>(key.data(), counting(one.bytes))) == one.hash);
    }
}

// CPython hashes bytes with SipHash-1-3 since 3.11: hash(bytes(range(n))). Its key is all zeros
// under PYTHONHASHSEED=0, and under 42 these 16 bytes.
static void cpython_and_1_3_agree(void**) {
    const Key zero = {};
    const Known with_zero[] = {{1, 0x68a914128e01e473},  {5, 0x5abe2169dff36275},
                               {8, 0xead411e67ebe2eea},  {15, 0xf30eb725bb91c9ea},
                               {16, 0x8972188433a5c5b7}, {63, 0x385d3e39e5f37359}};
    for (const Known& one : with_zero) {
        assert_true((siphash<1, 3>(zero.data(), counting(one.bytes))) == one.hash);
    }
    const Key of_42 = {0xaf, 0x90, 0xcd, 0x68, 0xd3, 0x4f, 0x50, 0xdc,
                       0xc1, 0xe9, 0x99, 0xfe, 0x9f, 0xbb, 0x20, 0xb9};
    const Known with_42[] = {{1, 0xce880c366bcf3489},  {5, 0xbe8653fc64f95fbd},
                             {8, 0x60866c3c108c6afb},  {15, 0x94ace24d68c18cf8},
                             {16, 0x339176f3ac59ce05}, {63, 0x06e24d6f0d014c37}};
    for (const Known& one : with_42) {
        assert_true((siphash<1, 3>(of_42.data(), counting(one.bytes))) == one.hash);
    }
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(the_published_results_of_2_4_hold),
        cmocka_unit_test(cpython_and_1_3_agree),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

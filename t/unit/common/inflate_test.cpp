#include "common/inflate.hpp"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "t/unit/cmocka.hpp"

using namespace sluice;

static constexpr size_t kAnySize = 1 << 30;
static constexpr int kBareBits = -15, kZlibBits = 15, kGzipBits = 31;

static std::string deflated(std::string_view text, int bits, int level = 6,
                            gz_header* header = nullptr) {
    z_stream stream = {};
    assert_int_equal(deflateInit2(&stream, level, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    if (header != nullptr) {
        assert_int_equal(deflateSetHeader(&stream, header), Z_OK);
    }
    std::string out(deflateBound(&stream, text.size()) + 256, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

struct Result {
    InflateStatus status;
    std::string text;
    size_t taken;
    std::string reason;
};

// In steps of at most share bytes of input and room bytes of output, both in buffers of just that
// size, so that a sanitizer sees a read or write behind them. first is the first step's share.
static Result inflated(std::string_view body, Coding coding, size_t bytes_max = kAnySize,
                       size_t share = kAnySize, size_t room = 4096, size_t first = 0) {
    const std::unique_ptr<char[]> exact(new char[body.size()]);
    std::memcpy(exact.get(), body.data(), body.size());
    const std::unique_ptr<char[]> out(new char[room]);
    Inflater inflater;
    assert_true(inflater.begin(coding, {exact.get(), body.size()}, bytes_max));
    Result result = {InflateStatus::kMore, "", 0, ""};
    if (first == 0) {
        first = share;
    }
    while (result.status == InflateStatus::kMore) {
        const size_t taken = inflater.taken(), made = inflater.made();
        result.status = inflater.step(first, out.get(), room);
        result.text.append(out.get(), inflater.made() - made);
        assert_true(inflater.taken() - taken <= first && inflater.made() - made <= room);
        assert_true(inflater.made() <= bytes_max && inflater.taken() <= body.size());
        if (result.status == InflateStatus::kMore) {
            assert_true(inflater.taken() != taken || inflater.made() != made);
        }
        first = share;
    }
    result.taken = inflater.taken();
    result.reason = inflater.reason();
    return result;
}

static const std::string kText =
    "{\"logs\":[{\"device_id\":\"d\",\"message\":\"one\"},{\"device_id\":\"d\",\"message\":\"two\"}"
    "]}";

struct Sample {
    const char* name;
    Coding coding;
    std::string body;
    std::string text;
};

static std::vector<Sample> samples() {
    unsigned char extra[] = "some", name[] = "logs.json", comment[] = "of pump 7";
    gz_header header = {};
    header.extra = extra;
    header.extra_len = sizeof(extra);
    header.name = name;
    header.comment = comment;
    header.hcrc = 1;
    const std::string gzip = deflated(kText, kGzipBits), empty = deflated("", kGzipBits);
    return {
        {"gzip", Coding::kGzip, gzip, kText},
        {"stored", Coding::kGzip, deflated(kText, kGzipBits, 0), kText},
        {"every header field", Coding::kGzip, deflated(kText, kGzipBits, 9, &header), kText},
        {"members", Coding::kGzip, gzip + deflated("and more", kGzipBits), kText + "and more"},
        {"empty members", Coding::kGzip, empty + gzip + empty + empty, kText},
        {"an empty member", Coding::kGzip, empty, ""},
        {"zlib", Coding::kDeflate, deflated(kText, kZlibBits), kText},
        {"zlib, small window", Coding::kDeflate, deflated(kText, 9), kText},
        {"zlib, empty", Coding::kDeflate, deflated("", kZlibBits), ""},
        {"bare", Coding::kDeflate, deflated(kText, kBareBits), kText},
        {"bare, stored", Coding::kDeflate, deflated(kText, kBareBits, 0), kText},
        {"bare, empty", Coding::kDeflate, deflated("", kBareBits), ""},
    };
}

static void check_whole(const Sample& sample, const Result& result) {
    if (result.status != InflateStatus::kWhole) {
        fail_msg("%s: %s at %zu", sample.name, result.reason.c_str(), result.taken);
    }
    assert_text_equal(result.text, sample.text);
    assert_int_equal(result.taken, sample.body.size());
}

static void steps_of_any_size_make_the_same(void**) {
    for (const Sample& sample : samples()) {
        for (size_t share = 1; share <= sample.body.size(); share++) {
            for (size_t room = 1; room <= sample.text.size() + 1; room++) {
                check_whole(sample, inflated(sample.body, sample.coding, kAnySize, share, room));
            }
        }
    }
}

static void a_body_may_be_cut_in_two_anywhere(void**) {
    for (const Sample& sample : samples()) {
        for (size_t first = 1; first <= sample.body.size(); first++) {
            check_whole(sample, inflated(sample.body, sample.coding, kAnySize, kAnySize,
                                         sample.text.size() + 1, first));
        }
    }
}

static void the_bound_is_exact(void**) {
    for (const Sample& sample : samples()) {
        const size_t size = sample.text.size();
        for (size_t room : {size_t{1}, size_t{7}, size + 1}) {
            check_whole(sample, inflated(sample.body, sample.coding, size, kAnySize, room));
            for (size_t less = 1; less <= size; less++) {
                const Result result =
                    inflated(sample.body, sample.coding, size - less, kAnySize, room);
                assert_true(result.status == InflateStatus::kTooLarge);
                assert_text_equal(result.text, sample.text.substr(0, size - less));
            }
        }
    }
}

static void a_bomb_is_given_up_at_the_bound(void**) {
    const std::string bomb = deflated(std::string(64 << 20, '\0'), kGzipBits, 9);
    const std::string_view body = bomb;
    const Result result = inflated(body, Coding::kGzip, 1 << 20, 4096, 65536);
    assert_true(result.status == InflateStatus::kTooLarge);
    assert_int_equal(result.text.size(), 1 << 20);
    assert_true(result.taken < body.size() / 32);
}

static void what_is_cut_off_is_broken(void**) {
    for (const Sample& sample : samples()) {
        if (sample.text.find("and more") != std::string::npos ||
            std::strstr(sample.name, "empty members") != nullptr) {
            continue;  // cut between two members it is whole
        }
        for (size_t size = 0; size < sample.body.size(); size++) {
            for (size_t share : {size_t{1}, kAnySize}) {
                const Result result = inflated(std::string_view(sample.body).substr(0, size),
                                               sample.coding, kAnySize, share);
                assert_true(result.status == InflateStatus::kBroken);
                assert_text_equal(result.reason, "it ends before the compressed data do");
                assert_int_equal(result.taken, size);
            }
        }
    }
}

static void what_stands_behind_the_end_is_refused(void**) {
    for (const Sample& sample : samples()) {
        for (std::string_view rest : {std::string_view("\0", 1), std::string_view("\n"),
                                      std::string_view("{}"), std::string_view("\x78\x9c")}) {
            const Result result = inflated(sample.body + std::string(rest), sample.coding);
            assert_true(result.status == InflateStatus::kBroken);
            assert_text_equal(result.reason,
                              "there is something behind the end of the compressed data");
            assert_int_equal(result.taken, sample.body.size());
        }
    }
    const std::string gzip = deflated(kText, kGzipBits), zlib = deflated(kText, kZlibBits);
    assert_true(inflated(gzip + "\x1f", Coding::kGzip).status == InflateStatus::kBroken);
    assert_true(inflated(gzip + "\x1f\x8b", Coding::kGzip).status == InflateStatus::kBroken);
    // Only gzip has members.
    for (const std::string& rest : {zlib, gzip}) {
        assert_text_equal(inflated(zlib + rest, Coding::kDeflate).reason,
                          "there is something behind the end of the compressed data");
    }
}

// Checksums see every bit, but for those of a gzip header that mean nothing here (time, level,
// system, "it is text") unless it has a checksum of its own, and the padding of the last block.
static size_t bits_that_mean_nothing(const Sample& sample) {
    const bool is_plain_gzip =
        sample.coding == Coding::kGzip && std::strcmp(sample.name, "every header field") != 0;
    return (is_plain_gzip ? 6 * 8 + 1 : 0) + 7;
}

static void every_flipped_bit_is_seen(void**) {
    for (const Sample& sample : samples()) {
        if (std::strncmp(sample.name, "bare", 4) == 0 ||
            std::strstr(sample.name, "members") != nullptr) {
            continue;
        }
        size_t unseen = 0;
        for (size_t bit = 0; bit < 8 * sample.body.size(); bit++) {
            std::string flipped = sample.body;
            flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
            const Result result = inflated(flipped, sample.coding);
            if (result.status == InflateStatus::kWhole) {
                assert_text_equal(result.text, sample.text);
                unseen++;
            } else {
                assert_true(result.status == InflateStatus::kBroken && !result.reason.empty());
            }
        }
        assert_true(unseen <= bits_that_mean_nothing(sample));
    }
}

static void what_is_not_of_that_coding_is_broken(void**) {
    const std::string gzip = deflated(kText, kGzipBits), zlib = deflated(kText, kZlibBits),
                      bare = deflated(kText, kBareBits);
    assert_text_equal(inflated(kText, Coding::kGzip).reason, "incorrect header check");
    assert_text_equal(inflated(zlib, Coding::kGzip).reason, "incorrect header check");
    assert_true(inflated(bare, Coding::kGzip).status == InflateStatus::kBroken);
    assert_true(inflated(kText, Coding::kDeflate).status == InflateStatus::kBroken);
    assert_true(inflated(gzip, Coding::kDeflate).status == InflateStatus::kBroken);
}

static void a_dictionary_is_nobodys(void**) {
    z_stream stream = {};
    assert_int_equal(deflateInit(&stream, 6), Z_OK);
    assert_int_equal(deflateSetDictionary(&stream, reinterpret_cast<const Bytef*>("logs"), 4),
                     Z_OK);
    std::string out(256, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(kText.data()));
    stream.avail_in = static_cast<uInt>(kText.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    assert_text_equal(inflated(out, Coding::kDeflate).reason, "it needs a dictionary");
}

static void another_encoder_is_understood(void**) {
    // printf 'hello hello hello hello' | gzip -n, which does not use zlib
    const unsigned char body[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03,
                                  0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40, 0x27, 0x01,
                                  0xe3, 0x51, 0x3d, 0x8d, 0x17, 0x00, 0x00, 0x00};
    const Result result =
        inflated({reinterpret_cast<const char*>(body), sizeof(body)}, Coding::kGzip);
    assert_true(result.status == InflateStatus::kWhole);
    assert_text_equal(result.text, "hello hello hello hello");
}

static void an_inflater_can_begin_again(void**) {
    char out[256];
    const std::string gzip = deflated(kText, kGzipBits), bare = deflated("again", kBareBits);
    Inflater inflater;
    assert_true(inflater.begin(Coding::kGzip, gzip, kAnySize));
    assert_true(inflater.step(9, out, 8) == InflateStatus::kMore);
    assert_true(inflater.begin(Coding::kDeflate, bare, kAnySize));
    assert_true(inflater.step(kAnySize, out, sizeof(out)) == InflateStatus::kWhole);
    assert_text_equal(std::string_view(out, inflater.made()), "again");
    inflater.end();
    inflater.end();
}

static void the_ratio_counts_for_large_bodies_only(void**) {
    assert_int_equal(ratio_bytes_max(0, 400), kRatioFreeBytes);
    assert_int_equal(ratio_bytes_max(100, 400), kRatioFreeBytes);
    assert_int_equal(ratio_bytes_max(kRatioFreeBytes / 400, 400), kRatioFreeBytes);
    assert_int_equal(ratio_bytes_max(kRatioFreeBytes / 400 + 1, 400),
                     (kRatioFreeBytes / 400 + 1) * 400);
    assert_int_equal(ratio_bytes_max(10 << 20, 1), 10 << 20);
    assert_int_equal(ratio_bytes_max(1, kInflateRatioMax), kRatioFreeBytes);
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(steps_of_any_size_make_the_same),
        cmocka_unit_test(a_body_may_be_cut_in_two_anywhere),
        cmocka_unit_test(the_bound_is_exact),
        cmocka_unit_test(a_bomb_is_given_up_at_the_bound),
        cmocka_unit_test(what_is_cut_off_is_broken),
        cmocka_unit_test(what_stands_behind_the_end_is_refused),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(what_is_not_of_that_coding_is_broken),
        cmocka_unit_test(a_dictionary_is_nobodys),
        cmocka_unit_test(another_encoder_is_understood),
        cmocka_unit_test(an_inflater_can_begin_again),
        cmocka_unit_test(the_ratio_counts_for_large_bodies_only),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

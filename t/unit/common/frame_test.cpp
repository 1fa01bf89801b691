#include "common/frame.hpp"

#include <cstring>
#include <set>
#include <vector>

#include "common/resp_reply.hpp"
#include "t/unit/cmocka.hpp"

using namespace sluice;

static const uint8_t kSeed[ProducerIds::kSeedBytes] = {1, 2, 3, 4, 5, 6, 7, 8};
static const std::string_view kRows = "d1\tINFO\thello\t{}\t\\N\nd2\tERROR\tx\t{}\t\\N\n";

// A command is an array of bulks, so the reader of replies reads it too.
static std::vector<std::string> words_of(std::string_view command) {
    Reply array;
    assert_true(read_reply(command.data(), command.size(), &array) == ReplyStatus::kComplete);
    assert_int_equal(array.bytes, command.size());
    std::vector<std::string> words;
    std::string_view rest = array.text;
    Reply word;
    while (take_element(&rest, &word)) {
        words.emplace_back(word.text);
    }
    return words;
}

static std::vector<std::string> xadd(const FrameHead& head, std::string_view rows) {
    std::vector<char> buffer(kFrameHeadBytesMax + rows.size() + kFrameTailBytes);
    char* const begin = buffer.data() + kFrameHeadBytesMax;
    std::memcpy(begin, rows.data(), rows.size());
    const char* start = write_frame_head(head, begin);
    const char* end = write_frame_tail(begin + rows.size());
    assert_true(start >= buffer.data());
    return words_of({start, static_cast<size_t>(end - start)});
}

static std::vector<EntryField> fields_of(const std::vector<std::string>& words) {
    std::vector<EntryField> fields;
    for (size_t i = 3; i + 1 < words.size(); i += 2) {
        fields.push_back({words[i], words[i + 1]});
    }
    return fields;
}

static void what_is_written_is_read(void**) {
    ProducerIds ids;
    ids.seed(kSeed);
    const FrameHead head = {kDefaultStream, ids.next(1700000000123), 1700000000123, 2,
                            kRows.size()};
    const auto words = xadd(head, kRows);
    assert_int_equal(words.size(), 13);
    assert_text_equal(words[0], "XADD");
    assert_text_equal(words[1], "logs:stream");
    assert_text_equal(words[2], "*");

    const auto fields = fields_of(words);
    Frame frame;
    assert_true(read_frame(fields.data(), fields.size(), &frame) == FrameError::kNone);
    assert_true(frame.producer_id == head.producer_id);
    assert_int_equal(frame.receive_time_ms, 1700000000123);
    assert_false(frame.time_clamped);
    assert_int_equal(frame.records, 2);
    assert_text_equal(frame.rows, kRows);
}

static void the_longest_stream_name_fits(void**) {
    const std::string name(kStreamNameBytesMax, 'x');
    const FrameHead head = {name, {}, kReceiveTimeMaxMs, kFrameRecordsMax, kRows.size()};
    assert_text_equal(xadd(head, kRows)[1], name);
}

static void producer_ids_are_uuids_that_rise_and_never_repeat(void**) {
    ProducerIds ids;
    ids.seed(kSeed);
    std::set<ProducerId> seen;
    ProducerId before = ids.next(1700000000000);
    seen.insert(before);
    for (int i = 0; i < 100000; i++) {
        const ProducerId id = ids.next(1700000000000 + i / 1000);
        assert_int_equal(id[6] >> 4, 7);
        assert_int_equal(id[8] >> 6, 2);
        assert_true(before < id);
        assert_true(seen.insert(id).second);
        before = id;
    }
}

static void another_seed_gives_other_ids(void**) {
    const uint8_t other[ProducerIds::kSeedBytes] = {1, 2, 3, 4, 5, 6, 7, 9};
    ProducerIds a, b;
    a.seed(kSeed);
    b.seed(other);
    assert_true(a.next(1) != b.next(1));
}

static void keyed_ids_are_uuids_that_follow_from_the_hash(void**) {
    const uint8_t hash[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    const ProducerId id = keyed_producer_id(hash);
    assert_int_equal(id[6] >> 4, 8);
    assert_int_equal(id[8] >> 6, 2);
    assert_true(is_keyed(id));
    assert_true(id == keyed_producer_id(hash));
    ProducerIds ids;
    ids.seed(kSeed);
    assert_false(is_keyed(ids.next(1)));
}

static void hashed_ids_are_uuids_of_their_time_and_hash(void**) {
    uint8_t hash[32] = {0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8};
    const ProducerId id = hashed_producer_id(0x0123456789ab, hash);
    const ProducerId expected = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x7f, 0xff,
                                 0xbf, 1,    2,    3,    4,    5,    6,    7};
    assert_true(id == expected);
    assert_false(is_keyed(id));
    hash[15] ^= 1;
    assert_true(id != hashed_producer_id(0x0123456789ab, hash));
}

static FrameError read(std::vector<EntryField> fields) {
    Frame frame;
    return read_frame(fields.data(), fields.size(), &frame);
}

static void what_is_no_frame_is_told_apart(void**) {
    const std::string_view id = "0123456789abcdef";
    assert_true(read({{"v", "2"}, {"x", "?"}}) == FrameError::kUnknownVersion);
    assert_true(read({{"device_id", "d"}, {"message", "m"}}) == FrameError::kPlainEntry);
    assert_true(read({{"v", "2"}, {"device_id", "d"}}) == FrameError::kPlainEntry);
    assert_true(read({{"v", "1"}, {"device_id", "d"}}) == FrameError::kPlainEntry);
    assert_true(read({}) == FrameError::kDamaged);
    assert_true(read({{"foo", "bar"}}) == FrameError::kDamaged);
    const std::vector<EntryField> good = {
        {"v", "1"}, {"u", id}, {"t", "1700000000000"}, {"n", "2"}, {"r", kRows}};
    assert_true(read(good) == FrameError::kNone);
    const std::pair<size_t, EntryField> damages[] = {
        {1, {"u", "short"}}, {1, {"w", id}},       {2, {"t", ""}},        {2, {"t", "12x"}},
        {3, {"n", "0"}},     {3, {"n", "-1"}},     {3, {"n", "1000001"}}, {3, {"n", "99999999999"}},
        {4, {"r", ""}},      {4, {"r", "no end"}},
    };
    for (const auto& [at, field] : damages) {
        auto damaged = good;
        damaged[at] = field;
        assert_true(read(damaged) == FrameError::kDamaged);
    }
    auto longer = good;
    longer.push_back({"x", "y"});
    assert_true(read(longer) == FrameError::kDamaged);
}

static void a_broken_clock_is_stored_at_the_bound(void**) {
    Frame frame;
    const auto with_time = [&frame](std::string_view t) {
        const EntryField fields[] = {
            {"v", "1"}, {"u", "0123456789abcdef"}, {"t", t}, {"n", "2"}, {"r", kRows}};
        assert_true(read_frame(fields, 5, &frame) == FrameError::kNone);
        return frame.receive_time_ms;
    };
    assert_int_equal(with_time("0"), kReceiveTimeMinMs);
    assert_true(frame.time_clamped);
    assert_int_equal(with_time("-5"), kReceiveTimeMinMs);
    assert_int_equal(with_time("9000000000000000000"), kReceiveTimeMaxMs);
    assert_true(frame.time_clamped);
    assert_int_equal(with_time("1577836800000"), kReceiveTimeMinMs);
    assert_false(frame.time_clamped);
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_longest_stream_name_fits),
        cmocka_unit_test(producer_ids_are_uuids_that_rise_and_never_repeat),
        cmocka_unit_test(another_seed_gives_other_ids),
        cmocka_unit_test(keyed_ids_are_uuids_that_follow_from_the_hash),
        cmocka_unit_test(hashed_ids_are_uuids_of_their_time_and_hash),
        cmocka_unit_test(what_is_no_frame_is_told_apart),
        cmocka_unit_test(a_broken_clock_is_stored_at_the_bound),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

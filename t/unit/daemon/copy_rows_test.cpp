// COPY's bytes and the counts that go with them.
#include "daemon/load/copy_rows.hpp"

#include <algorithm>

#include "frames.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

std::string copy_all(const Batch& batch, size_t chunk_bytes, std::vector<MinuteCount>* counts) {
    CopyRows rows(batch, {0, batch.fresh_rows().size()});
    std::string all;
    for (std::string chunk; rows.next_chunk(chunk_bytes, &chunk); chunk.clear()) {
        all += chunk;
    }
    *counts = rows.counts();
    return all;
}

// Frames 1 to 3 of two rows, one row, three rows; the second is not fresh.
void fill(Batch* batch, OwnedRows* owner) {
    batch->add(make_entry(owner, {1, 1}, 1, 2, kNoonMs));
    batch->add(make_entry(owner, {1, 2}, 2, 1, kNoonMs + 1));
    batch->add(make_entry(owner, {1, 3}, 3, 3, kNoonMs + 60000, "CRITICAL"));
    batch->close();
    int64_t next = 10;
    assert_true(batch->assign_row_ids(&next, kRowIdBlock));
    batch->mark_fresh({10, 13});
}

void rows_get_their_ids_and_times(void**) {
    OwnedRows owner;
    Batch batch(0, 0);
    fill(&batch, &owner);
    std::vector<MinuteCount> counts;
    const std::string copied = copy_all(batch, 1 << 20, &counts);
    assert_string_equal(copied.c_str(),
                        "10\t2024-11-14T12:00:00.000000Z\tdevice\tINFO\tmessage\t{}\t\\N\n"
                        "11\t2024-11-14T12:00:00.000000Z\tdevice\tINFO\tmessage\t{}\t\\N\n"
                        "13\t2024-11-14T12:01:00.000000Z\tdevice\tCRITICAL\tmessage\t{}\t\\N\n"
                        "14\t2024-11-14T12:01:00.000000Z\tdevice\tCRITICAL\tmessage\t{}\t\\N\n"
                        "15\t2024-11-14T12:01:00.000000Z\tdevice\tCRITICAL\tmessage\t{}\t\\N\n");
    assert_int_equal(counts.size(), 2);
    assert_int_equal(counts[0].n, 2);
    assert_int_equal(counts[0].level, Level::kInfo);
    assert_int_equal(counts[1].n, 3);
    assert_int_equal(counts[1].level, Level::kCritical);
    assert_int_equal(counts[1].minute, counts[0].minute + 1);
}

// Rows of one device are of several frames and minutes, and the other way round.
void rows_that_are_copied_by_device_keep_what_is_their_frames(void**) {
    OwnedRows owner;
    Batch batch(0, 0);
    for (uint32_t i = 0; i < 2; ++i) {
        Entry entry = make_entry(&owner, {1, i}, i, 2, kNoonMs + i * 60000);
        entry.frame.rows = owner.add("pump\tINFO\tm\t{}\t\\N\nfan\tERROR\tm\t{}\t\\N\n");
        batch.add(entry);
    }
    batch.close();
    int64_t next = 7;
    assert_true(batch.assign_row_ids(&next, kRowIdBlock));
    batch.mark_fresh({7, 9});
    std::vector<MinuteCount> counts;
    assert_text_equal(copy_all(batch, 1 << 20, &counts),
                      "8\t2024-11-14T12:00:00.000000Z\tfan\tERROR\tm\t{}\t\\N\n"
                      "10\t2024-11-14T12:01:00.000000Z\tfan\tERROR\tm\t{}\t\\N\n"
                      "7\t2024-11-14T12:00:00.000000Z\tpump\tINFO\tm\t{}\t\\N\n"
                      "9\t2024-11-14T12:01:00.000000Z\tpump\tINFO\tm\t{}\t\\N\n");
    assert_int_equal(counts.size(), 4);
    for (size_t i = 0; i < 4; ++i) {
        assert_int_equal(counts[i].minute, counts[0].minute + static_cast<int64_t>(i / 2));
        assert_int_equal(counts[i].level, i % 2 == 0 ? Level::kInfo : Level::kError);
        assert_int_equal(counts[i].n, 1);
    }
    const DeadLetter letter = batch.dead_letter(1, "22P02", "reason");
    assert_int_equal(letter.position, 1);
    assert_int_equal(letter.receive_time_ms, kNoonMs + 60000);
}

void chunks_of_any_size_hold_the_same_bytes(void**) {
    OwnedRows owner;
    Batch batch(0, 0);
    fill(&batch, &owner);
    std::vector<MinuteCount> counts;
    const std::string whole = copy_all(batch, 1 << 20, &counts);
    for (size_t bytes = 1; bytes < whole.size() + 2; ++bytes) {
        assert_true(copy_all(batch, bytes, &counts) == whole);
        assert_int_equal(counts.size(), 2);
    }
}

void frames_of_one_minute_share_a_count(void**) {
    OwnedRows owner;
    Batch batch(0, 0);
    for (uint32_t i = 0; i < 10; ++i) {
        batch.add(make_entry(&owner, {1, i}, i, 1, kNoonMs + i, i % 2 == 0 ? "DEBUG" : "ERROR"));
    }
    batch.close();
    int64_t next = 1;
    assert_true(batch.assign_row_ids(&next, kRowIdBlock));
    batch.mark_fresh({1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
    std::vector<MinuteCount> counts;
    const std::string copied = copy_all(batch, 1 << 20, &counts);
    assert_false(copied.empty());
    assert_int_equal(counts.size(), 2);
    assert_int_equal(counts[0].n, 5);
    assert_int_equal(counts[1].n, 5);
}

// Whatever rows are asked for, they are those of the whole, and the counts go with them.
void any_range_of_rows_is_copied_as_in_the_whole(void**) {
    OwnedRows owner;
    Batch batch(0, 0);
    fill(&batch, &owner);
    std::vector<MinuteCount> counts;
    const std::string whole = copy_all(batch, 1 << 20, &counts);
    std::vector<std::string> lines;
    for (size_t at = 0; at < whole.size(); at += lines.back().size()) {
        lines.push_back(whole.substr(at, whole.find('\n', at) + 1 - at));
    }
    assert_int_equal(lines.size(), 5);
    for (uint64_t first = 0; first < 5; ++first) {
        std::string expected;
        for (uint64_t count = 1; first + count <= 5; ++count) {
            expected += lines[first + count - 1];
            CopyRows rows(batch, {first, count});
            std::string copied;
            while (rows.next_chunk(copied.size() + 1, &copied)) {}
            assert_text_equal(copied, expected);
            uint64_t counted = 0;
            for (const MinuteCount& minute : rows.counts()) {
                counted += minute.n;
            }
            assert_int_equal(counted, count);
        }
    }
}

void a_dead_letter_tells_where_its_row_came_from(void**) {
    OwnedRows owner;
    Batch batch(0, 0);
    Entry entry = make_entry(&owner, {1, 1}, 1, 2);
    batch.add(make_entry(&owner, {1, 2}, 2, 7));
    entry.frame.producer_id = make_producer_id(3);
    entry.frame.rows = owner.add("first\nsecond\n");
    batch.add(entry);
    batch.close();
    int64_t next = 1;
    assert_true(batch.assign_row_ids(&next, kRowIdBlock));
    batch.mark_fresh({8});  // the frame of two rows
    const DeadLetter letter = batch.dead_letter(1, "22P02", "reason");
    assert_true(letter.id == (StreamId{1, 1}));
    assert_int_equal(letter.position, 1);
    assert_true(letter.producer_id == make_producer_id(3));
    assert_int_equal(letter.receive_time_ms, kNoonMs);
    assert_text_equal(letter.bytes, "second");
    assert_text_equal(letter.sqlstate, "22P02");
    assert_text_equal(batch.dead_letter(0, "", "").bytes, "first");
}

void good_rows_are_of_every_level_and_of_the_time_given(void**) {
    const std::string rows = good_rows(kNoonMs);
    size_t lines = 0;
    for (size_t at = 0; at < rows.size(); at = rows.find('\n', at) + 1, ++lines) {
        const std::string line = rows.substr(at, rows.find('\n', at) - at);
        assert_int_equal(std::count(line.begin(), line.end(), '\t'), 6);
        assert_true(line.find("\t2024-11-14T12:00:00.000000Z\t") != std::string::npos);
        const std::string level = "\t" + std::string(kLevelNames[lines]) + "\t";
        assert_true(line.find(level) != std::string::npos);
    }
    assert_int_equal(lines, kLevelCount);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(rows_get_their_ids_and_times),
        cmocka_unit_test(rows_that_are_copied_by_device_keep_what_is_their_frames),
        cmocka_unit_test(chunks_of_any_size_hold_the_same_bytes),
        cmocka_unit_test(frames_of_one_minute_share_a_count),
        cmocka_unit_test(any_range_of_rows_is_copied_as_in_the_whole),
        cmocka_unit_test(a_dead_letter_tells_where_its_row_came_from),
        cmocka_unit_test(good_rows_are_of_every_level_and_of_the_time_given),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

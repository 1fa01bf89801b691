// COPY's bytes and the counts that go with them.
#include "daemon/load/copy_rows.hpp"

#include "frames.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

std::string copy_all(const Batch& batch, size_t chunk_bytes, std::vector<MinuteCount>* counts) {
    CopyRows rows(batch, {0, batch.fresh_rows()});
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

void a_frame_with_other_rows_than_it_says_is_damaged(void**) {
    const std::string producer(16, 'u');
    const std::string rows = make_rows(2);
    const auto read = [&](const char* records) {
        const EntryField fields[] = {{"v", kFrameVersion},
                                     {"u", producer},
                                     {"t", "1731585600000"},
                                     {"n", records},
                                     {"r", rows}};
        EntryBytes bytes;
        return EntryReader().read({1, 1}, fields, 5, &bytes).error;
    };
    assert_int_equal(read("2"), FrameError::kNone);
    assert_int_equal(read("1"), FrameError::kDamaged);
    assert_int_equal(read("3"), FrameError::kDamaged);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(rows_get_their_ids_and_times),
        cmocka_unit_test(chunks_of_any_size_hold_the_same_bytes),
        cmocka_unit_test(frames_of_one_minute_share_a_count),
        cmocka_unit_test(a_frame_with_other_rows_than_it_says_is_damaged),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// Entries as they are judged: frames, plain ones, and those that become dead letters.
#include "daemon/entry.hpp"

#include <vector>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

constexpr StreamId kId = {1731585600123, 4};
constexpr std::string_view kProducer = "0123456789abcdef";
constexpr std::string_view kTwoRows = "d\tINFO\tm\t{}\t\\N\nd\tINFO\tm\t{}\t\\N\n";

class Reading {
  public:
    explicit Reading(const std::vector<EntryField>& fields, StreamId id = kId)
        : entry_(EntryReader().read(id, fields.data(), fields.size(), &bytes_)) {}
    const Entry* operator->() const { return &entry_; }

  private:
    EntryBytes bytes_;
    Entry entry_;
};

std::vector<EntryField> frame_fields(std::string_view records, std::string_view rows = kTwoRows) {
    return {{"v", kFrameVersion},
            {"u", kProducer},
            {"t", "1731585600000"},
            {"n", records},
            {"r", rows}};
}

std::vector<EntryField> plain_fields() {
    return {{"device_id", "d"}, {"log_level", "info"}, {"message", "m"}};
}

void a_frame_passes_as_it_is(void**) {
    const Reading entry(frame_fields("2"));
    assert_int_equal(entry->error, FrameError::kNone);
    assert_false(entry->plain);
    assert_ptr_equal(entry->frame.rows.data(), kTwoRows.data());
    assert_int_equal(entry->frame.receive_time_ms, 1731585600000);
}

void a_frame_with_other_rows_than_it_says_is_damaged(void**) {
    for (const char* records : {"1", "3"}) {
        const Reading entry(frame_fields(records));
        assert_int_equal(entry->error, FrameError::kDamaged);
        assert_text_equal(entry->reason, "neither a whole frame nor a plain entry");
    }
}

void a_newer_version_is_left_alone(void**) {
    const Reading entry({{"v", "2"}, {"x", "y"}});
    assert_int_equal(entry->error, FrameError::kUnknownVersion);
    assert_true(entry->frame.rows.empty());
}

void a_dead_letter_holds_all_fields_and_the_time_of_the_id(void**) {
    std::vector<EntryField> fields = {{"what", "is\0this"}, {"", "\n"}};
    fields[0].value = std::string_view("is\0this", 7);
    const Reading entry(fields);
    assert_int_equal(entry->error, FrameError::kDamaged);
    assert_text_equal(entry->frame.rows, std::string_view("4:what,7:is\0this,0:,1:\n,", 24));
    assert_int_equal(entry->frame.receive_time_ms, kId.ms);
    assert_false(is_keyed(entry->frame.producer_id));
    const std::vector<EntryField> many(1000, EntryField{"name", "value"});
    assert_int_equal(Reading(many)->frame.rows.size(),
                     1000 * std::string("4:name,5:value,").size());
    assert_text_equal(Reading({})->frame.rows, "");
}

void a_plain_entry_becomes_a_frame_of_one_record(void**) {
    const Reading entry(plain_fields());
    assert_int_equal(entry->error, FrameError::kNone);
    assert_true(entry->plain);
    assert_int_equal(entry->frame.records, 1);
    assert_text_equal(entry->frame.rows, "d\tINFO\tm\t{}\t\\N\n");
    assert_int_equal(entry->frame.receive_time_ms, kId.ms);
    assert_false(entry->frame.time_clamped);
    std::vector<EntryField> large = plain_fields();
    const std::string extra(100000, 'x');
    large.push_back({"stack", extra});
    assert_true(Reading(large)->other_bytes > extra.size());
}

void a_plain_entry_that_breaks_a_rule_says_which(void**) {
    std::vector<EntryField> fields = plain_fields();
    fields[1].value = "LOUD";
    const Reading entry(fields);
    assert_int_equal(entry->error, FrameError::kPlainEntry);
    assert_text_equal(
        entry->reason,
        "log_level: unknown_level: must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL");
    assert_text_equal(entry->frame.rows, "9:device_id,1:d,9:log_level,4:LOUD,7:message,1:m,");
}

void what_is_read_again_is_the_same_and_anything_else_is_another(void**) {
    const auto id_of = [](const std::vector<EntryField>& fields, StreamId id) {
        return Reading(fields, id)->frame.producer_id;
    };
    std::vector<EntryField> other = plain_fields();
    other[2].value = "n";
    // The same bytes, divided otherwise.
    const std::vector<EntryField> moved = {{"device_id", "dl"}, {"og_level", "info"}};
    const std::vector<EntryField> moved_too = {{"device_id", "d"}, {"log_level", "info"}};
    assert_true(id_of(plain_fields(), kId) == id_of(plain_fields(), kId));
    assert_true(id_of(plain_fields(), kId) != id_of(other, kId));
    assert_true(id_of(plain_fields(), kId) != id_of(plain_fields(), {kId.ms, kId.seq + 1}));
    assert_true(id_of(plain_fields(), {11, 1}) != id_of(plain_fields(), {1, 11}));
    assert_true(id_of(moved, kId) != id_of(moved_too, kId));
}

void the_time_of_an_odd_id_is_clamped(void**) {
    const Reading early(plain_fields(), {5, 1});
    assert_int_equal(early->frame.receive_time_ms, kReceiveTimeMinMs);
    assert_true(early->frame.time_clamped);
    const Reading late(plain_fields(), kStreamIdMax);
    assert_int_equal(late->frame.receive_time_ms, kReceiveTimeMaxMs);
    assert_true(late->frame.time_clamped);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_passes_as_it_is),
        cmocka_unit_test(a_frame_with_other_rows_than_it_says_is_damaged),
        cmocka_unit_test(a_newer_version_is_left_alone),
        cmocka_unit_test(a_dead_letter_holds_all_fields_and_the_time_of_the_id),
        cmocka_unit_test(a_plain_entry_becomes_a_frame_of_one_record),
        cmocka_unit_test(a_plain_entry_that_breaks_a_rule_says_which),
        cmocka_unit_test(what_is_read_again_is_the_same_and_anything_else_is_another),
        cmocka_unit_test(the_time_of_an_odd_id_is_clamped),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

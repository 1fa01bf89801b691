// Dead letters as they are kept, and progress as it is told.
#include "daemon/commands/letter.hpp"

#include "daemon/commands/progress.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

void fields_come_back_as_they_were(void**) {
    const std::vector<EntryField> fields = {{"device_id", "d"}, {"", ""}, {"a:1,", "x,3:y,"}};
    const std::string text = fields_text(fields.data(), fields.size());
    std::vector<EntryField> read;
    assert_true(read_fields_text(text, &read));
    assert_int_equal(read.size(), fields.size());
    for (size_t i = 0; i < fields.size(); ++i) {
        assert_text_equal(read[i].name, fields[i].name);
        assert_text_equal(read[i].value, fields[i].value);
    }
}

void what_was_cut_is_none(void**) {
    const std::vector<EntryField> fields = {{"device_id", "d"}, {"message", "hello"}};
    const std::string text = fields_text(fields.data(), fields.size());
    std::vector<EntryField> read;
    for (size_t bytes = 0; bytes < text.size(); ++bytes) {
        // But where it is cut between two fields: that is found by what is missing.
        const bool whole = bytes == std::string_view("9:device_id,1:d,").size();
        assert_int_equal(read_fields_text(std::string_view(text).substr(0, bytes), &read), whole);
    }
    for (const char* wrong : {"x", "1", "1:", "-1:a,1:b,", "18446744073709551615:a,1:b,",
                              "99999999999999999999999:a,1:b,", "1:ab1:b,", "1:a,2:b,"}) {
        assert_false(read_fields_text(wrong, &read));
    }
}

void columns_have_names(void**) {
    const auto columns = columns_of_row("d\tINFO\tm\t{}\t\\N\tmore");
    assert_int_equal(columns.size(), 6);
    assert_text_equal(columns[0].first, "device_id");
    assert_text_equal(columns[4].first, "event_time");
    assert_text_equal(columns[4].second, "\\N");
    assert_text_equal(columns[5].first, "column 6");
    assert_text_equal(columns[5].second, "more");
    assert_int_equal(columns_of_row("").size(), 1);
    assert_int_equal(columns_of_row("\t").size(), 2);
}

void bytes_are_read_as_postgres_shows_them(void**) {
    std::string bytes;
    assert_true(read_bytea("\\x00ff41", &bytes));
    assert_text_equal(bytes, std::string_view("\x00\xff"
                                              "A",
                                              3));
    assert_true(read_bytea("\\x", &bytes));
    assert_text_equal(bytes, "");
    for (const char* wrong : {"", "\\000", "\\x0", "\\x0g", "0041"}) {
        assert_false(read_bytea(wrong, &bytes));
    }
}

void progress_says_how_long_it_takes(void**) {
    assert_text_equal(progress_text("rows", 0, 5000, 0), "rows 0 of 5,000 (0 %)");
    assert_text_equal(progress_text("rows", 1200, 5000, 4),
                      "rows 1,200 of 5,000 (24 %), 300/s, 13 s left");
    assert_text_equal(progress_text("rows", 5000, 5000, 4), "rows 5,000 of 5,000 (100 %), 1,250/s");
    assert_text_equal(progress_text("rows", 6000, 5000, 4), "rows 6,000 of 5,000 (100 %), 1,500/s");
    assert_text_equal(progress_text("rows", 10, 0, 2), "rows 10, 5/s");
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(fields_come_back_as_they_were),
        cmocka_unit_test(what_was_cut_is_none),
        cmocka_unit_test(columns_have_names),
        cmocka_unit_test(bytes_are_read_as_postgres_shows_them),
        cmocka_unit_test(progress_says_how_long_it_takes),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

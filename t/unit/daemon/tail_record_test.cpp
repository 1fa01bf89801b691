// Records as events, and the places that they are known by.
#include "daemon/serve/tail_record.hpp"

#include "daemon/serve/recent_frames.hpp"
#include "daemon/serve/tail_filter.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

constexpr int64_t kNoonMs = 1731672000123;

void a_row_becomes_an_event(void**) {
    TailRecord record;
    assert_true(
        record.read("pump-7\tERROR\ta\\tb\\n\\\\\t{\"k\": \"v\\\\n\"}\t2024-11-14T10:30:00.5Z"));
    assert_string_equal(record.event({{7, 1}, 3}, kNoonMs).c_str(),
                        "id: 7-1-3\n"
                        "data: {\"device_id\":\"pump-7\",\"log_level\":\"ERROR\","
                        "\"message\":\"a\\tb\\n\\\\\",\"log_data\":{\"k\": \"v\\n\"},"
                        "\"created_at\":\"2024-11-15T12:00:00.123000Z\","
                        "\"event_time\":\"2024-11-14T10:30:00.5Z\",\"message_id\":\"7-1-3\"}\n\n");
    assert_true(record.read("d\tINFO\tm\t{}\t\\N"));
    assert_true(record.event({{1, 0}, 0}, 0).find("event_time") == std::string::npos);
}

void no_row_ends_a_line(void**) {
    TailRecord record;
    assert_true(record.read("d\\n\tINFO\t\\n\\r\\ndata: x\t{\\n\\r\\n\"a\"\\r:1}\t\\n\\n"));
    const std::string event = record.event({{1, 0}, 0}, 0);
    size_t ends = 0;
    for (const char c : event) {
        ends += c == '\n' || c == '\r' ? 1 : 0;
    }
    assert_int_equal(ends, 3);
}

void what_is_no_row_is_none(void**) {
    TailRecord record;
    for (const char* row : {"", "d", "d\tINFO", "d\tLOUD\tm\t{}\t\\N", "d\tINFO\tm\t{}\\"}) {
        assert_false(record.read(row));
    }
}

void places_are_read_as_they_are_written(void**) {
    TailPlace place;
    assert_true(parse_tail_place("1699960200000-5-999999", &place));
    assert_string_equal(to_string(place).c_str(), "1699960200000-5-999999");
    assert_true(place < TailPlace::behind(place.entry));
    assert_true(TailPlace::behind({1, 5}) < (TailPlace{{1, 6}, 0}));
    for (const char* text : {"", "1", "1-2", "1-2-", "-1-2-3", "1-2-x", "a-2-3", "1-2-3-4",
                             "99999999999999999999-0-0", "1-2-3 "}) {
        assert_false(parse_tail_place(text, &place));
    }
}

Query query_of(const char* target) {
    Query query;
    QueryError error;
    assert_true(parse_query(target, &query, &error) == QueryVerdict::kGood);
    return query;
}

void a_filter_takes_what_agrees_in_all(void**) {
    TailRecord record;
    assert_true(
        record.read("d\tERROR\tStra\xc3\x9f"
                    "e \xc3\x84\t{\"a\":1}\t\\N"));
    const auto takes = [&](const std::string& parameters) {
        return TailFilter(query_of(("/api/logs/stream" + parameters).c_str())).takes(record);
    };
    assert_true(takes(""));
    assert_true(takes("?device_id=d&level=ERROR&q=STRA&contains=%7B%22a%22:1.0%7D"));
    assert_true(takes("?q=%C3%A4"));
    assert_false(takes("?q=strasse"));
    assert_false(takes("?device_id=D"));
    assert_false(takes("?min_level=CRITICAL"));
    assert_false(takes("?contains=%7B%22a%22:2%7D"));
}

ProducerId frame(uint8_t number) {
    ProducerId id{};
    id[15] = number;
    return id;
}

void a_frame_is_new_once(void**) {
    RecentFrames frames(2);
    assert_true(frames.is_first(frame(1), {1, 0}));
    assert_false(frames.is_first(frame(1), {2, 0}));
    assert_true(frames.is_first(frame(1), {1, 0}));
    // One before it, found by who came later.
    assert_true(frames.is_first(frame(1), {0, 5}));
    assert_false(frames.is_first(frame(1), {1, 0}));
    // As many as it may remember.
    assert_true(frames.is_first(frame(2), {3, 0}));
    assert_true(frames.is_first(frame(3), {4, 0}));
    assert_true(frames.is_first(frame(1), {5, 0}));
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_row_becomes_an_event),
        cmocka_unit_test(no_row_ends_a_line),
        cmocka_unit_test(what_is_no_row_is_none),
        cmocka_unit_test(places_are_read_as_they_are_written),
        cmocka_unit_test(a_filter_takes_what_agrees_in_all),
        cmocka_unit_test(a_frame_is_new_once),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

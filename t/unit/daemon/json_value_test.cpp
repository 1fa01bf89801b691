// What one JSON object contains of another, as jsonb's @> has it.
#include "daemon/serve/json_value.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

bool contains(const char* json, const char* other) {
    const auto value = JsonValue::parse(json);
    const auto wanted = JsonValue::parse(other);
    assert_non_null(value.get());
    assert_non_null(wanted.get());
    return value->contains(*wanted);
}

void objects_contain_some_of_their_members(void**) {
    assert_true(contains(R"({"a":1,"b":{"c":[1,2]}})", "{}"));
    assert_true(contains(R"({"a":1,"b":{"c":[1,2]}})", R"({"b":{"c":[2]}})"));
    assert_false(contains(R"({"a":1})", R"({"a":1,"b":null})"));
    assert_false(contains(R"({"a":null})", R"({"a":false})"));
    assert_false(contains(R"({"a":"1"})", R"({"a":1})"));
    assert_false(contains(R"({"a":{}})", R"({"a":[]})"));
}

void arrays_are_sets(void**) {
    assert_true(contains(R"({"a":[3,1,2]})", R"({"a":[2,2,1]})"));
    assert_true(contains(R"({"a":[[1,2],{"b":1,"c":2}]})", R"({"a":[{"c":2},[1]]})"));
    assert_false(contains(R"({"a":[1,2]})", R"({"a":1})"));
    assert_false(contains(R"({"a":[[1]]})", R"({"a":[1]})"));
    assert_true(contains(R"({"a":[]})", R"({"a":[]})"));
}

void numbers_are_equal_however_they_are_written(void**) {
    assert_true(contains(R"({"a":1})", R"({"a":1.0})"));
    assert_true(contains(R"({"a":100})", R"({"a":1e2})"));
    assert_true(contains(R"({"a":0.01})", R"({"a":1E-2})"));
    assert_true(contains(R"({"a":-0})", R"({"a":0.0e5})"));
    assert_true(contains(R"({"a":-1.50})", R"({"a":-15e-1})"));
    assert_false(contains(R"({"a":12345678901234567890123})", R"({"a":12345678901234567890124})"));
    assert_false(contains(R"({"a":1})", R"({"a":-1})"));
    assert_false(contains(R"({"a":10})", R"({"a":1})"));
}

void texts_are_equal_however_they_are_escaped(void**) {
    assert_true(contains("{\"\\u00e4\":\"\\ud83d\\ude00\\n\\/\"}",
                         "{\"\xc3\xa4\":\"\xf0\x9f\x98\x80\\u000a/\"}"));
    assert_false(contains(R"({"a":"b"})", R"({"a":"B"})"));
}

void of_a_key_that_is_given_twice_the_last_counts(void**) {
    assert_true(contains(R"({"a":1,"a":2})", R"({"a":2})"));
    assert_false(contains(R"({"a":1,"a":2})", R"({"a":1})"));
    assert_true(contains(R"({"a":2})", R"({"a":1,"a":2})"));
}

void what_is_no_json_is_none(void**) {
    for (const char* text : {"", "{", "{\"a\"}", "{\"a\":1,}", "[1", "\"a", "\"\\x\"", "\"\\u12\"",
                             "tru", "1 2", "-", "{}x", "{1:2}", "\"\\ud800x\""}) {
        assert_null(JsonValue::parse(text).get());
    }
    assert_null(JsonValue::parse(std::string(100, '[') + std::string(100, ']')).get());
    assert_non_null(JsonValue::parse(" {\t\"a\" :\r\n[ ] } ").get());
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(objects_contain_some_of_their_members),
        cmocka_unit_test(arrays_are_sets),
        cmocka_unit_test(numbers_are_equal_however_they_are_written),
        cmocka_unit_test(texts_are_equal_however_they_are_escaped),
        cmocka_unit_test(of_a_key_that_is_given_twice_the_last_counts),
        cmocka_unit_test(what_is_no_json_is_none),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// Options and words behind a command, and every mistake named.
#include "daemon/commands/arguments.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

const std::vector<Option> kOptions = {{"--limit", true}, {"--all", false}, {"--yes", false}};

std::string refusal(const std::vector<std::string>& given) {
    try {
        const Arguments arguments(given, kOptions);
        return "";
    } catch (const UsageError& error) {
        return error.what();
    }
}

std::string number_refusal(const char* text) {
    try {
        return std::to_string(Arguments({"--limit", text}, kOptions).number("--limit", 1, 100, 0));
    } catch (const UsageError& error) {
        return error.what();
    }
}

void options_and_words_may_be_mixed(void**) {
    const Arguments arguments({"list", "--limit", "5", "12", "--all", "-"}, kOptions);
    assert_text_equal(arguments.value("--limit"), "5");
    assert_true(arguments.has("--all"));
    assert_false(arguments.has("--yes"));
    assert_int_equal(arguments.words().size(), 3);
    assert_text_equal(arguments.words()[2], "-");
}

void values_may_stand_behind_a_sign(void**) {
    const Arguments arguments({"--limit=--all"}, kOptions);
    assert_text_equal(arguments.value("--limit"), "--all");
    assert_false(arguments.has("--all"));
}

void two_dashes_end_the_options(void**) {
    const Arguments arguments({"--all", "--", "--limit"}, kOptions);
    assert_int_equal(arguments.words().size(), 1);
    assert_text_equal(arguments.words()[0], "--limit");
}

void mistakes_are_named_with_the_nearest(void**) {
    assert_text_equal(refusal({"--limti", "5"}), "unknown option --limti: did you mean --limit?");
    assert_text_equal(refusal({"--al"}), "unknown option --al: did you mean --all?");
    assert_text_equal(refusal({"-h"}), "unknown option -h: did you mean --help?");
    assert_text_equal(refusal({"--hlep=1"}), "unknown option --hlep: did you mean --help?");
    assert_text_equal(refusal({"--limit"}), "--limit wants a value behind it");
    assert_text_equal(refusal({"--all=yes"}), "--all takes no value");
    assert_text_equal(refusal({"--all", "--all"}), "--all is given twice");
}

void numbers_are_whole_and_in_range(void**) {
    assert_text_equal(number_refusal("100"), "100");
    for (const char* wrong : {"", "0", "101", "5x", "x", "1.5", "99999999999999999999", "+5"}) {
        assert_text_equal(number_refusal(wrong), "--limit must be a whole number, 1 to 100");
    }
    assert_int_equal(Arguments({}, kOptions).number("--limit", 1, 100, 20), 20);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(options_and_words_may_be_mixed),
        cmocka_unit_test(values_may_stand_behind_a_sign),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(mistakes_are_named_with_the_nearest),
        cmocka_unit_test(numbers_are_whole_and_in_range),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

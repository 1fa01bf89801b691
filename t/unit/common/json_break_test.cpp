#include "common/json_break.hpp"

#include "t/unit/cmocka.hpp"

using namespace sluice;

static void the_first_bad_character_is_found(void**) {
    for (const char* good :
         {"", "a", "\x7f\xc2\x80\xdf\xbf", "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80",
          "\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"}) {
        assert_int_equal(find_bad_utf8(good), std::string_view(good).size());
        const std::string before = std::string("\xc3\xa9") + good;
        for (const char* bad :
             {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xc2\xc0",
              "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe1\x80", "\xe1\x80\x41", "\xf0\x8f\xbf\xbf",
              "\xf1\x80\x80", "\xf1\x80\x80\xc0", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
            assert_int_equal(find_bad_utf8(before + bad), before.size());
            assert_int_equal(find_bad_utf8(before + bad + "\xc3\xa9"), before.size());
        }
    }
}

static void a_broken_string_is_found(void**) {
    const auto check = [](std::string_view text, size_t begin, size_t broke) {
        const BrokenString found = find_broken_string(text);
        assert_int_equal(found.begin, begin);
        assert_int_equal(found.broke, broke);
    };
    check("", 0, 0);
    check(R"({"a":"b"})", 9, 9);
    check(R"({"a":"b)", 5, 7);
    check("{\"a\":\"b\nc\"}", 5, 7);
    check("\n{\"a\":\t\"b\\\"\x1f\"}", 7, 11);
    check("[\"\\\\\",\"\\\n\"]", 6, 8);  // what is escaped is still raw
    check(R"(["a\"])", 1, 6);
    check(R"([\"a"])", 4, 6);  // as the index sees it
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(the_first_bad_character_is_found),
        cmocka_unit_test(a_broken_string_is_found),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

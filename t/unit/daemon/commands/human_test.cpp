// Numbers with units, tables, JSON, and text that must not drive a terminal.
#include "daemon/commands/human.hpp"

#include "daemon/commands/json_out.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

void counts_are_grouped(void**) {
    assert_text_equal(human_count(0), "0");
    assert_text_equal(human_count(999), "999");
    assert_text_equal(human_count(1000), "1,000");
    assert_text_equal(human_count(1234567), "1,234,567");
    assert_text_equal(human_count(UINT64_MAX), "18,446,744,073,709,551,615");
}

void bytes_have_the_unit_that_fits(void**) {
    assert_text_equal(human_bytes(0), "0 B");
    assert_text_equal(human_bytes(1023), "1023 B");
    assert_text_equal(human_bytes(1024), "1.0 KB");
    assert_text_equal(human_bytes(1024 * 100), "100 KB");
    assert_text_equal(human_bytes(1024 * 1024 - 1), "1.0 MB");
    assert_text_equal(human_bytes(3LL << 40), "3.0 TB");
    assert_text_equal(human_bytes(UINT64_MAX), "16.0 EB");
}

void seconds_have_two_units_at_most(void**) {
    assert_text_equal(human_seconds(-1), "0.0 s");
    assert_text_equal(human_seconds(0.44), "0.4 s");
    assert_text_equal(human_seconds(9.94), "9.9 s");
    assert_text_equal(human_seconds(9.96), "10 s");
    assert_text_equal(human_seconds(59.6), "1 min 0 s");
    assert_text_equal(human_seconds(723), "12 min 3 s");
    assert_text_equal(human_seconds(3600), "1 h 0 min");
    assert_text_equal(human_seconds(47 * 3600 + 59 * 60), "47 h 59 min");
    assert_text_equal(human_seconds(86400 * 3 + 7200), "3 d 2 h");
    assert_text_equal(human_seconds(1e300), "36500 d 0 h");
}

void what_is_visible_is_shown_as_it_is(void**) {
    assert_text_equal(printable("a b~", true), "a b~");
    assert_text_equal(printable("\u00e4\u4e2d\U0001f600", true), "\u00e4\u4e2d\U0001f600");
    assert_text_equal(printable("a\\x", true), "a\\\\x");
}

void controls_are_not_let_through(void**) {
    assert_text_equal(printable(std::string_view("\0\a\x1b[31m\r\n\t\x7f", 11), true),
                      "\\x00\\x07\\x1b[31m\\x0d\\x0a\\x09\\x7f");
    // CSI as a C1 control, in UTF-8 and alone.
    assert_text_equal(printable("\u009b31m", true), "\\xc2\\x9b31m");
    assert_text_equal(printable("\x9b", true), "\\x9b");
    // Marks of direction, isolates, separators, zero widths, a byte order mark, tags.
    assert_text_equal(printable("\u202e", true), "\\xe2\\x80\\xae");
    assert_text_equal(printable("\u2066\u2069", true), "\\xe2\\x81\\xa6\\xe2\\x81\\xa9");
    assert_text_equal(printable("\u2028", true), "\\xe2\\x80\\xa8");
    assert_text_equal(printable("\u200b", true), "\\xe2\\x80\\x8b");
    assert_text_equal(printable("\ufeff", true), "\\xef\\xbb\\xbf");
    assert_text_equal(printable("\U000e0041", true), "\\xf3\\xa0\\x81\\x81");
}

void what_is_no_utf8_is_shown_byte_by_byte(void**) {
    assert_text_equal(printable("\xff", true), "\\xff");
    assert_text_equal(printable("\xc0\x9b", true), "\\xc0\\x9b");  // too long for it
    assert_text_equal(printable("\xe0\x82\x9b", true), "\\xe0\\x82\\x9b");
    assert_text_equal(printable("\xed\xa0\x80", true), "\\xed\\xa0\\x80");  // half a pair
    assert_text_equal(printable("\xf4\x90\x80\x80", true), "\\xf4\\x90\\x80\\x80");
    assert_text_equal(printable("a\xe4\xb8", true), "a\\xe4\\xb8");  // cut
    assert_text_equal(printable("\xe4\x1b[m", true), "\\xe4\\x1b[m");
}

void what_servers_say_stays_on_its_line(void**) {
    assert_text_equal(one_line("no\n\tserver \r\n there\x1b\n", true), "no server there\\x1b ");
}

void another_terminal_gets_ascii(void**) {
    assert_text_equal(printable("a\u00db", false), "a\\xc3\\x9b");
}

void every_byte_is_safe(void**) {
    for (int first = 0; first < 256; ++first) {
        for (int second = 0; second < 256; ++second) {
            const char bytes[] = {static_cast<char>(first), static_cast<char>(second)};
            for (const char c : printable({bytes, 2}, false)) {
                assert_in_range(c, 0x20, 0x7e);
            }
        }
    }
}

void columns_are_aligned(void**) {
    Table table({"ID", "NAME", "BYTES"}, {true, false, true});
    table.add({"7", "\u00e4b", "1"});
    table.add({"1234", "x", "100"});
    assert_text_equal(table.text(),
                      "  ID  NAME  BYTES\n"
                      "   7  \u00e4b        1\n"
                      "1234  x       100\n");
}

void json_has_commas_and_escapes(void**) {
    JsonOut out;
    out.open('{').key("a").number(uint64_t{1}).key("b").open('[').string("x\n\"").null();
    out.boolean(false).close(']').key("c").open('{').close('}').key("d").number(0.25).close('}');
    assert_text_equal(out.text(), "{\"a\":1,\"b\":[\"x\\n\\\"\",null,false],\"c\":{},\"d\":0.250}");
    assert_text_equal(JsonOut().string("a\xff").text(), "\"a\\\\xff\"");
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_grouped),
        cmocka_unit_test(bytes_have_the_unit_that_fits),
        cmocka_unit_test(seconds_have_two_units_at_most),
        cmocka_unit_test(what_is_visible_is_shown_as_it_is),
        cmocka_unit_test(controls_are_not_let_through),
        cmocka_unit_test(what_is_no_utf8_is_shown_byte_by_byte),
        cmocka_unit_test(what_servers_say_stays_on_its_line),
        cmocka_unit_test(another_terminal_gets_ascii),
        cmocka_unit_test(every_byte_is_safe),
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(json_has_commas_and_escapes),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

#include "common/copy_text.hpp"

#include "t/unit/cmocka.hpp"

using namespace sluice;

static std::string escaped(std::string_view text) {
    std::string out(2 * text.size(), '\0');
    out.resize(static_cast<size_t>(copy_escape(text, out.data()) - out.data()));
    return out;
}

static void what_copy_would_take_for_structure_is_escaped(void**) {
    assert_text_equal(escaped("a\tb\nc\rd\\e"), "a\\tb\\nc\\rd\\\\e");
    // "\N" and "\." mean NULL and the end of data only if their backslash is bare.
    assert_text_equal(escaped("\\N"), "\\\\N");
    assert_text_equal(escaped("\\."), "\\\\.");
}

static void the_rest_stays(void**) {
    assert_text_equal(escaped(""), "");
    assert_text_equal(escaped("\xc3\xa4\x01\x7f\"'"), "\xc3\xa4\x01\x7f\"'");
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_copy_would_take_for_structure_is_escaped),
        cmocka_unit_test(the_rest_stays),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

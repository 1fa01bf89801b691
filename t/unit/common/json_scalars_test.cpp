#include "common/json_scalars.hpp"

#include <vector>

#include "t/unit/cmocka.hpp"

using namespace sluice;

static Refusal scalar(std::string_view text) {
    const std::vector<char> exact(text.begin(), text.end());
    const char* end = nullptr;
    return check_scalar(exact.data(), exact.data() + exact.size(), &end);
}

static std::string copied(bool as_value, std::string_view text, uint32_t* nuls,
                          Refusal* refusal = nullptr) {
    std::string out(kCopyFactor * text.size() + kCopySlack, '\0');
    const CopiedText result =
        as_value ? copy_value(text, out.data(), nuls) : copy_string(text, out.data(), nuls);
    if (refusal != nullptr) {
        *refusal = result.refusal;
    } else {
        assert_true(result.refusal == Refusal::kNone);
    }
    out.resize(static_cast<size_t>(result.end - out.data()));
    return out;
}

static void numbers_and_literals(void**) {
    for (std::string_view text :
         {"0", "-0", "10", "1.5", "-1.25e-10", "1E+5", "0e0", "true", "false", "null", "1,", "1}",
          "true]", "null ", "123456789012345678901234567890", "1e308", "1e-308"}) {
        if (scalar(text) != Refusal::kNone) {
            fail_msg("refused: %s", std::string(text).c_str());
        }
    }
    for (std::string_view text :
         {"-",     "01",   "1.",  ".5",       "+1",        "1e",  "1e+",   "1.e5",
          "-.5",   "0x1",  "NaN", "Infinity", "-Infinity", "tru", "truee", "nul",
          "nulll", "True", "1a",  "1\"",      "--1",       "1-",  "1e5.5", "\xef\xbb\xbf"}) {
        if (scalar(text) != Refusal::kMalformedJson) {
            fail_msg("taken: %s", std::string(text).c_str());
        }
    }
    assert_true(scalar(std::string(64, '1')) == Refusal::kNone);
    assert_true(scalar(std::string(65, '1')) == Refusal::kNumberTooLong);
    assert_true(scalar("1e309") == Refusal::kNumberOutOfRange);
    assert_true(scalar("1e-309") == Refusal::kNumberOutOfRange);
    assert_true(scalar("1e99999999999999999999") == Refusal::kNumberOutOfRange);
}

static void strings_are_decoded_for_copy(void**) {
    uint32_t nuls = 0;
    assert_text_equal(copied(false, "plain \xc3\xa4", &nuls), "plain \xc3\xa4");
    assert_text_equal(copied(false, R"(\"\/\b\f)", &nuls), "\"/\b\f");
    assert_text_equal(copied(false, R"(\n\r\t\\)", &nuls), R"(\n\r\t\\)");
    assert_text_equal(copied(false, R"(\u000a\u005c\u0009)", &nuls), R"(\n\\\t)");
    assert_text_equal(copied(false, R"(\u00e4\u20ac\uD83D\uDE00)", &nuls),
                      "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_text_equal(copied(false, R"(\uFFFF\u0001)", &nuls), "\xef\xbf\xbf\x01");
    assert_int_equal(nuls, 0);
    assert_text_equal(copied(false, R"(a\u0000b\\u0000)", &nuls),
                      "a\xef\xbf\xbd"
                      "b\\\\u0000");
    assert_int_equal(nuls, 1);
}

static void values_keep_their_text(void**) {
    uint32_t nuls = 0;
    assert_text_equal(copied(true, R"({"a":1.50,"b":12345678901234567890123})", &nuls),
                      R"({"a":1.50,"b":12345678901234567890123})");
    assert_text_equal(copied(true, R"({"a\n":"\\u0000\"\/"})", &nuls),
                      R"({"a\\n":"\\\\u0000\\"\\/"})");
    assert_text_equal(copied(true, "{\n\t\"a\" :\r 1}", &nuls), "{  \"a\" :  1}");
    assert_text_equal(copied(true, R"("\uD83D\uDE00")", &nuls), R"("\\uD83D\\uDE00")");
    assert_int_equal(nuls, 0);
    assert_text_equal(copied(true, R"({"\u0000":"\\\u0000"})", &nuls),
                      R"({"\\ufffd":"\\\\\\ufffd"})");
    assert_int_equal(nuls, 2);
}

static void broken_escapes_are_refused_everywhere(void**) {
    const std::pair<std::string_view, Refusal> broken[] = {
        {R"(\x41)", Refusal::kMalformedJson},
        {R"(\u12)", Refusal::kMalformedJson},
        {R"(\u12g4)", Refusal::kMalformedJson},
        {R"(\uD83D\u12)", Refusal::kMalformedJson},
        {R"(\uD800)", Refusal::kLoneSurrogate},
        {R"(\uDC00)", Refusal::kLoneSurrogate},
        {R"(\uDC00\uD800)", Refusal::kLoneSurrogate},
        {R"(\uD800\u0041)", Refusal::kLoneSurrogate},
        {R"(\uD800\n)", Refusal::kLoneSurrogate},
        {R"(\uD800\uD800)", Refusal::kLoneSurrogate},
        {R"(\)", Refusal::kMalformedJson},
        {R"(\u)", Refusal::kMalformedJson},
    };
    for (const auto& [text, expected] : broken) {
        uint32_t nuls = 0;
        Refusal refusal = Refusal::kNone;
        copied(false, text, &nuls, &refusal);
        assert_true(refusal == expected);
        copied(true, text, &nuls, &refusal);
        assert_true(refusal == expected);
        const char* failed = nullptr;
        assert_true(check_escapes(text, &failed) == expected);
        assert_ptr_equal(failed, text.data());
    }
}

static void control_characters_behind_escapes_are_told(void**) {
    const auto control = [](std::string_view text) {
        char out[64];
        uint32_t nuls = 0;
        return copy_string(text, out, &nuls).control;
    };
    assert_true(control(R"(\n)"));
    assert_true(control(R"(\u007f)"));
    assert_true(control(R"(\u0085)"));
    assert_true(control(R"(\u0000)"));
    assert_false(control(R"(\u00a0\"\/)"));
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_literals),
        cmocka_unit_test(strings_are_decoded_for_copy),
        cmocka_unit_test(values_keep_their_text),
        cmocka_unit_test(broken_escapes_are_refused_everywhere),
        cmocka_unit_test(control_characters_behind_escapes_are_told),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

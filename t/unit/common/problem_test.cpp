#include "common/problem.hpp"

#include "common/json_text.hpp"
#include "t/unit/cmocka.hpp"

using namespace sluice;

static void a_problem_is_json_left_open_for_members(void**) {
    const Problem problem = {503, "redis_unavailable", "say \"when\"\n"};
    std::string out(problem_bytes(problem), '\0');
    out.resize(static_cast<size_t>(write_problem_open(problem, out.data()) - out.data()));
    assert_text_equal(out,
                      "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
                      "\"code\":\"redis_unavailable\",\"detail\":\"say \\\"when\\\"\\n\"");
}

static void the_longest_problem_fits(void**) {
    for (int status : {400, 404, 405, 413, 415, 422, 425, 429, 503, 599}) {
        const std::string detail(1000, '\x01');
        const Problem problem = {status, "code", detail};
        std::string out(problem_bytes(problem) + 1, '\0');
        assert_true(write_problem_open(problem, out.data()) < out.data() + out.size());
    }
}

static void every_byte_of_json_text_is_safe(void**) {
    std::string all;
    for (int c = 0; c < 128; c++) {
        all.push_back(static_cast<char>(c));
    }
    std::string out(all.size() * kJsonEscapeFactor, '\0');
    out.resize(static_cast<size_t>(json_escape(all, out.data()) - out.data()));
    assert_text_equal(std::string_view(out).substr(0, 12), "\\u0000\\u0001");
    assert_true(out.find("\\b\\t\\n\\u000b\\f\\r") != std::string::npos);
    assert_true(out.find("\\u001f !\\\"#") != std::string::npos);
    assert_true(out.find("[\\\\]") != std::string::npos);
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_is_json_left_open_for_members),
        cmocka_unit_test(the_longest_problem_fits),
        cmocka_unit_test(every_byte_of_json_text_is_safe),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

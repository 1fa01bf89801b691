// What a client would rather have, by its Accept header.
#include "common/query_accept.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

void assert_format(const char* accept, QueryFormat expected) {
    if (format_accepted(accept) != expected) {
        fail_msg("Accept: %s", accept);
    }
}

void pages_are_for_who_does_not_ask_for_a_file(void**) {
    for (const char* accept :
         {"", "*/*", "application/json", "text/html,application/xhtml+xml,*/*;q=0.8", "image/png",
          "text/*", ",,;", "application/json, text/csv;q=0.9", "text/csv;q=0", "text/csv;q=0.0",
          "text/csv;q=2", "text/csv;q=", "text/csv;q=1.0001", "text/csv;q=x", "text/csvx"}) {
        assert_format(accept, QueryFormat::kPage);
    }
}

void the_best_is_taken_and_the_first_of_equals(void**) {
    assert_format("text/csv", QueryFormat::kCsv);
    assert_format(" Text/CSV ; charset=utf-8 ; Q=0.5 ", QueryFormat::kCsv);
    assert_format("application/x-ndjson", QueryFormat::kNdjson);
    assert_format("application/ndjson;q=0.001", QueryFormat::kNdjson);
    assert_format("application/jsonl", QueryFormat::kNdjson);
    assert_format("text/csv, application/json", QueryFormat::kCsv);
    assert_format("application/json;q=0.4, text/csv;q=0.41", QueryFormat::kCsv);
    assert_format("text/csv;q=0.3, application/x-ndjson;q=0.9, */*;q=0.1", QueryFormat::kNdjson);
    assert_format("text/csv;q=1.000, application/x-ndjson", QueryFormat::kCsv);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_for_who_does_not_ask_for_a_file),
        cmocka_unit_test(the_best_is_taken_and_the_first_of_equals),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

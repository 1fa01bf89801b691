// What each SQLSTATE means, and the line in COPY's context.
#include "daemon/pg_failure.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

void assert_class(PgFailure expected, std::initializer_list<const char*> sqlstates) {
    for (const char* sqlstate : sqlstates) {
        if (classify_sqlstate(sqlstate, false) != expected) {
            fail_msg("%s is not of class %d", sqlstate, static_cast<int>(expected));
        }
    }
}

void what_goes_through_another_time_is_transient(void**) {
    assert_class(PgFailure::kTransient,
                 {"08006", "25006", "25P02", "40001", "40P01", "53100", "53200", "53300", "55P03",
                  "57014", "57P01", "57P02", "57P03", "58030"});
}

void what_the_values_cause_is_bad_data(void**) {
    // As they come of COPY: value too long, number out of range, bad time, bad bytes, bad enum or
    // JSON, bad COPY format, \u0000 in jsonb; null, unique, check; index row too large, too deep.
    assert_class(PgFailure::kBadData,
                 {"22001", "22003", "22007", "22008", "22021", "22P02", "22P04", "22P05", "23502",
                  "23503", "23505", "23P01", "54000", "54001", "54023"});
}

void what_the_schema_or_rights_cause_is_refused(void**) {
    assert_class(PgFailure::kRefused, {"42703", "42501", "42804", "42P10", "28000", "28P01",
                                       "3D000", "0A000", "P0001", "XX000", "XX001", "", "?"});
}

void a_missing_partition_is_told_from_a_violated_check(void**) {
    assert_true(classify_sqlstate("42P01", false) == PgFailure::kNoPartition);
    assert_true(classify_sqlstate("23514", false) == PgFailure::kNoPartition);
    assert_true(classify_sqlstate("23514", true) == PgFailure::kBadData);
}

void the_line_of_a_context_is_found(void**) {
    assert_int_equal(copy_line("COPY logs, line 3, column message: \"x\""), 3);
    assert_int_equal(copy_line("COPY logs_20241114, line 50000"), 50000);
    assert_int_equal(copy_line("JSON data, line 1: {\"a\":\nCOPY logs, line 17, column log_data"),
                     17);
    assert_int_equal(copy_line("COPY logs, line 2: \"x\nCOPY logs, line 9\""), 2);
}

void a_context_without_a_line_names_none(void**) {
    for (const char* context :
         {"", "\n", "COPY logs", "COPY logs, Zeile 3", "COPY logs, line x", "COPY logs, line ",
          "JSON data, line 1: x", "PL/pgSQL function f() line 3 at RAISE",
          "COPY logs, line 99999999999999999999999"}) {
        assert_int_equal(copy_line(context), 0);
    }
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_through_another_time_is_transient),
        cmocka_unit_test(what_the_values_cause_is_bad_data),
        cmocka_unit_test(what_the_schema_or_rights_cause_is_refused),
        cmocka_unit_test(a_missing_partition_is_told_from_a_violated_check),
        cmocka_unit_test(the_line_of_a_context_is_found),
        cmocka_unit_test(a_context_without_a_line_names_none),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

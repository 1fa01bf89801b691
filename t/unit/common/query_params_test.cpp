#include "common/query_params.hpp"

#include "t/unit/cmocka.hpp"

using namespace sluice;

static LogQuery good(std::string_view args) {
    LogQuery query;
    QueryError error;
    if (!parse_log_query(args, &query, &error)) {
        fail_msg("refused: %s", std::string(args).c_str());
    }
    return query;
}

static void refused(std::string_view args, std::string_view parameter, std::string_view code) {
    LogQuery query;
    QueryError error;
    assert_false(parse_log_query(args, &query, &error));
    assert_text_equal(error.parameter, parameter);
    assert_text_equal(error.code, code);
}

static void nothing_asked_means_the_defaults(void**) {
    for (std::string_view args : {"", "&", "&&"}) {
        const LogQuery query = good(args);
        assert_int_equal(query.limit, 100);
        assert_int_equal(query.offset, 0);
        assert_int_equal(query.levels, 0);
        assert_int_equal(query.device_id_bytes, 0);
    }
}

static void what_is_asked_is_understood(void**) {
    const LogQuery query = good("limit=7&offset=20&level=error,Critical&device_id=a%2Fb+c%C3%A4");
    assert_int_equal(query.limit, 7);
    assert_int_equal(query.offset, 20);
    assert_int_equal(query.levels, 1 << 3 | 1 << 4);
    assert_text_equal({query.device_id, query.device_id_bytes}, "a/b c\xc3\xa4");
}

static void bounds_are_kept(void**) {
    assert_int_equal(good("limit=1000").limit, 1000);
    assert_int_equal(good("offset=100000").offset, 100000);
    for (std::string_view args : {"limit=0", "limit=1001", "limit=-1", "limit=", "limit=1e2",
                                  "limit=99999999999", "limit=%zz", "limit=%3", "limit"}) {
        refused(args, "limit", "bad_parameter");
    }
    refused("offset=100001", "offset", "bad_parameter");
    refused("level=loud", "level", "bad_parameter");
    refused("level=info,", "level", "bad_parameter");
    refused("device_id=", "device_id", "bad_parameter");
    refused("device_id=" + std::string(51, 'x'), "device_id", "bad_parameter");
    refused("device_id=" + std::string(5000, 'x'), "device_id", "bad_parameter");
}

static void unknown_and_repeated_parameters_are_named(void**) {
    refused("limt=5", "limt", "unknown_parameter");
    refused("limit=5&limit=6", "limit", "duplicate_parameter");
    refused("=5", "", "unknown_parameter");
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(nothing_asked_means_the_defaults),
        cmocka_unit_test(what_is_asked_is_understood),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(unknown_and_repeated_parameters_are_named),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

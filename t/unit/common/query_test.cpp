#include "common/query.hpp"

#include <string>

#include "t/unit/cmocka.hpp"

using namespace sluice;

static Query good(std::string_view target) {
    Query query;
    QueryError error;
    if (parse_query(target, &query, &error) != QueryVerdict::kGood) {
        fail_msg("refused: %s", std::string(target).c_str());
    }
    return query;
}

static void refused(std::string_view target, std::string_view parameter, std::string_view code) {
    Query query;
    QueryError error;
    if (parse_query(target, &query, &error) != QueryVerdict::kBad) {
        fail_msg("taken: %s", std::string(target).c_str());
    }
    assert_text_equal(error.parameter, parameter);
    assert_text_equal(error.code, code);
    assert_true(error.rule != nullptr);
}

static std::string written(const Query& query) {
    char out[kQueryTargetBytesMax];
    return {out, write_query(query, out)};
}

static void same(std::string_view target, std::string_view as) {
    assert_text_equal(written(good(target)), as);
    assert_text_equal(written(good(as)), as);
}

static void nothing_asked_means_the_defaults(void**) {
    for (std::string_view target :
         {"/api/logs", "/api/logs?", "/api/logs?&&", "/api/logs?limit=100",
          "/api/logs?offset=0&order=desc", "/api/logs?min_level=debug"}) {
        const Query query = good(target);
        assert_int_equal(query.limit, 100);
        assert_int_equal(query.levels, 0);
        assert_false(query.device_id.given());
        same(target, "/api/logs");
    }
    assert_true(good("/api/stats").kind == QueryKind::kStats);
    same("/api/hits?", "/api/hits");
}

static void what_is_asked_is_understood(void**) {
    const Query query = good(
        "/api/logs?limit=7&level=error,Critical&device_id=a%2Fb+c%C3%A4"
        "&from=2024-11-14T10:30:00Z&to=-15m&q=it+broke%21&contains=%7B%22a%22:%5B1%5D%7D&order="
        "asc");
    assert_int_equal(query.limit, 7);
    assert_int_equal(query.levels, 1 << 3 | 1 << 4);
    assert_text_equal(query.device_id.view(), "a/b c\xc3\xa4");
    assert_true(query.from.kind == QueryTime::Kind::kAbsolute);
    assert_int_equal(query.from.us, 1731580200000000);
    assert_int_equal(query.to.resolve(1000 * 1000 * 1000), 100 * 1000 * 1000);
    assert_text_equal(query.text.view(), "it broke!");
    assert_text_equal(query.contains.view(), "{\"a\":[1]}");
    assert_true(query.ascending);
}

static void a_device_in_the_path_is_a_parameter(void**) {
    same("/api/logs/pump-7", "/api/logs?device_id=pump-7");
    same("/api/logs/a%2fb?limit=5", "/api/logs?device_id=a/b&limit=5");
    same("/api/logs/a+b", "/api/logs?device_id=a%2Bb");
    same("/api/logs/%2e%2e", "/api/logs?device_id=..");
    same("/api/logs?device_id=stream", "/api/logs?device_id=stream");
    refused("/api/logs/x?device_id=x", "device_id", "duplicate_parameter");
    refused("/api/logs/%zz", "device_id", "bad_parameter");
    refused("/api/logs/" + std::string(51, 'x'), "device_id", "bad_parameter");
    refused("/api/logs/a%00b", "device_id", "bad_parameter");
    refused("/api/logs/a%1fb", "device_id", "bad_parameter");
    refused("/api/logs/%ff", "device_id", "bad_parameter");
}

static void the_same_question_is_written_in_one_way(void**) {
    same("/api/logs?limit=5&device_id=x", "/api/logs?device_id=x&limit=5");
    same("/api/logs?%6cimit=%35", "/api/logs?limit=5");
    same("/api/logs?limit=0005", "/api/logs?limit=5");
    same("/api/logs?level=critical,ERROR,error", "/api/logs?level=ERROR,CRITICAL");
    same("/api/logs?min_level=Error", "/api/logs?level=ERROR,CRITICAL");
    same("/api/logs?level=INFO,error&min_level=warning", "/api/logs?level=ERROR");
    same("/api/logs?level=debug,info,warning,error,critical", "/api/logs");
    for (std::string_view from :
         {"1731580200", "1731580200000", "1731580200.000", "1731580200000000000",
          "2024-11-14t11:30:00%2b01:00", "2024-11-14T11:30:00+01:00", "2024-11-14 10:30:00Z"}) {
        same("/api/logs?from=" + std::string(from), "/api/logs?from=2024-11-14T10:30:00.000000Z");
    }
    same("/api/logs?to=2024-11-14", "/api/logs?to=2024-11-14T00:00:00.000000Z");
    same("/api/logs?from=-120s", "/api/logs?from=-2m");
    same("/api/logs?from=-2w", "/api/logs?from=-14d");
    same("/api/logs?from=-90m", "/api/logs?from=-90m");
    same("/api/logs?q=%c3%a4%26", "/api/logs?q=%C3%A4%26");
    same("/api/logs?from=-0s&to=2020-01-01", "/api/logs?from=-0d&to=2020-01-01T00:00:00.000000Z");
}

static void a_file_has_no_limit_but_what_is_given(void**) {
    assert_true(good("/api/logs").format == QueryFormat::kPage);
    assert_true(good("/api/logs?format=json").format == QueryFormat::kJson);
    assert_int_equal(good("/api/logs?format=ndjson").limit, 0);
    same("/api/logs/x?format=csv", "/api/logs?device_id=x&format=csv");
    same("/api/logs?limit=100&format=ndjson", "/api/logs?format=ndjson&limit=100");
    same("/api/logs?limit=100000000&format=ndjson",
         "/api/logs?format=ndjson&limit=100000000");
    refused("/api/logs?format=csv&limit=100000001", "limit", "bad_parameter");
    refused("/api/logs?format=csv&limit=0", "limit", "bad_parameter");
    refused("/api/logs?format=csv&offset=1", "offset", "bad_parameter");
    for (std::string_view args : {"format=", "format=xml", "format=CSV", "format"}) {
        refused("/api/logs?" + std::string(args), "format", "bad_parameter");
    }
    refused("/api/stats?format=csv", "format", "unknown_parameter");
}

static void a_preferred_format_is_for_who_names_none(void**) {
    const auto preferring = [](std::string_view target, QueryFormat preferred) {
        Query query;
        QueryError error;
        assert_true(parse_query(target, &query, &error, preferred) == QueryVerdict::kGood);
        return written(query);
    };
    assert_text_equal(preferring("/api/logs/x?limit=5", QueryFormat::kCsv),
                      "/api/logs?device_id=x&format=csv&limit=5");
    assert_text_equal(preferring("/api/logs?limit=5000", QueryFormat::kCsv),
                      "/api/logs?format=csv&limit=5000");
    assert_text_equal(preferring("/api/logs?format=json", QueryFormat::kCsv),
                      "/api/logs?format=json");
    // What can be had as a page only is one.
    assert_text_equal(preferring("/api/logs?offset=5", QueryFormat::kCsv), "/api/logs?offset=5");
    assert_text_equal(preferring("/api/stats", QueryFormat::kCsv), "/api/stats");
    assert_text_equal(preferring("/api/hits", QueryFormat::kNdjson), "/api/hits");
}

static void a_tail_has_filters_only(void**) {
    assert_true(good("/api/logs/stream").kind == QueryKind::kTail);
    same("/api/logs/stream?q=a&level=error&device_id=x&contains=%7B%7D",
         "/api/logs/stream?device_id=x&level=ERROR&q=a&contains=%7B%7D");
    same("/api/logs?device_id=stream", "/api/logs?device_id=stream");
    for (std::string_view name : {"limit", "offset", "from", "to", "order", "cursor", "format"}) {
        refused("/api/logs/stream?" + std::string(name) + "=1", name, "unknown_parameter");
    }
}

static void bounds_are_kept(void**) {
    assert_int_equal(good("/api/logs?limit=1000").limit, 1000);
    assert_int_equal(good("/api/logs?offset=100000").offset, 100000);
    for (std::string_view args : {"limit=0", "limit=1001", "limit=-1", "limit=", "limit=1e2",
                                  "limit=99999999999", "limit=%zz", "limit=%3", "limit"}) {
        refused("/api/logs?" + std::string(args), "limit", "bad_parameter");
    }
    refused("/api/logs?offset=100001", "offset", "bad_parameter");
    refused("/api/logs?offset=1&q=x", "offset", "bad_parameter");
    refused("/api/logs?contains={}&offset=1", "offset", "bad_parameter");
    refused("/api/logs?level=loud", "level", "bad_parameter");
    refused("/api/logs?level=info,", "level", "bad_parameter");
    refused("/api/logs?min_level=info,error", "min_level", "bad_parameter");
    refused("/api/logs?level=debug&min_level=error", "min_level", "bad_parameter");
    refused("/api/logs?device_id=", "device_id", "bad_parameter");
    refused("/api/logs?device_id=" + std::string(51, 'x'), "device_id", "bad_parameter");
    refused("/api/logs?device_id=" + std::string(5000, 'x'), "device_id", "bad_parameter");
    refused("/api/logs?order=down", "order", "bad_parameter");
    refused("/api/logs?q=", "q", "bad_parameter");
    refused("/api/logs?q=%00", "q", "bad_parameter");
    refused("/api/logs?q=%80", "q", "bad_parameter");
    refused("/api/logs?q=" + std::string(201, 'x'), "q", "bad_parameter");
}

static void times_are_checked(void**) {
    for (std::string_view from : {"", "yesterday", "-15", "-m", "-1y", "--1m", "-99999w", "-1.5h",
                                  "+5m", "2024-13-01", "2024-11-14T10", "1e9", "0x10", "5m"}) {
        refused("/api/logs?from=" + std::string(from), "from", "bad_parameter");
    }
    refused("/api/logs?from=-1m&to=-2m", "to", "bad_parameter");
    refused("/api/logs?from=-1m&to=-60s", "to", "bad_parameter");
    refused("/api/hits?from=2024-01-02&to=2024-01-01", "to", "bad_parameter");
    good("/api/logs?from=-1m&to=2020-01-01");
}

static void what_a_record_may_not_hold_cannot_be_asked_for(void**) {
    for (std::string_view contains :
         {"", "1", "[]", "{", "{}x", "{} {}", "{\"a\":}", "{'a':1}", "{\"a\":01}",
          "{\"a\":\"\\ud800\"}", "{\"a\":1e999}", "%ff"}) {
        refused("/api/logs?contains=" + std::string(contains), "contains", "bad_parameter");
    }
    refused("/api/logs?contains={\"a\":\"" + std::string(1000, 'x') + "\"}", "contains",
            "bad_parameter");
    same("/api/logs?contains={\"a\":{\"b\":[null,\"%C3%A4\"]}}",
         "/api/logs?contains=%7B%22a%22:%7B%22b%22:%5Bnull,%22%C3%A4%22%5D%7D%7D");
}

static void unknown_and_repeated_parameters_are_named(void**) {
    refused("/api/logs?limt=5", "limt", "unknown_parameter");
    refused("/api/logs?limit=5&limit=6", "limit", "duplicate_parameter");
    refused("/api/logs?limit=5&%6cimit=5", "%6cimit", "duplicate_parameter");
    refused("/api/logs?LIMIT=5", "LIMIT", "unknown_parameter");
    refused("/api/logs?=5", "", "unknown_parameter");
    refused("/api/logs?" + std::string(5000, 'x') + "=5", std::string(5000, 'x'),
            "unknown_parameter");
    refused("/api/stats?limit=5", "limit", "unknown_parameter");
    refused("/api/hits?device_id=x", "device_id", "unknown_parameter");
    refused("/api/logs?step=1m", "step", "unknown_parameter");
}

static void steps_are_few(void**) {
    assert_int_equal(good("/api/hits?step=15m").step_s, 900);
    same("/api/hits?step=60m", "/api/hits?step=1h");
    same("/api/hits?step=24h&from=-7d", "/api/hits?from=-7d&step=1d");
    for (std::string_view step : {"", "1s", "7m", "2d", "1w", "m", "-1m", "0m"}) {
        refused("/api/hits?step=" + std::string(step), "step", "bad_parameter");
    }
    assert_int_equal(step_for(3600LL * 1000000, 60), 60);
    assert_int_equal(step_for(7LL * 86400 * 1000000, 100), 7200);
    assert_int_equal(step_for(9999LL * 86400 * 1000000, 100), 86400);
}

static void a_cursor_comes_back_as_it_was(void**) {
    for (const int64_t number : {int64_t{0}, int64_t{1731580200123456}, int64_t{-5}}) {
        const int64_t id = number == 0 ? INT64_MAX : number;
        Query query;
        query.has_cursor = true;
        query.cursor = {number, id, number + 7};
        const std::string target = written(query);
        const Query back = good(target);
        assert_int_equal(back.cursor.created_at_us, query.cursor.created_at_us);
        assert_true(back.cursor.id == query.cursor.id);
        assert_int_equal(back.cursor.began_us, query.cursor.began_us);
        refused(target + "&offset=5", "offset", "bad_parameter");
        good(target + "&offset=0");
        for (size_t i = target.find("cursor=") + 7; i < target.size(); i++) {
            std::string damaged = target;
            damaged[i] = damaged[i] == 'A' ? 'B' : 'A';
            refused(damaged, "cursor", "bad_parameter");
        }
        refused(target + "A", "cursor", "bad_parameter");
        refused(target.substr(0, target.size() - 1), "cursor", "bad_parameter");
    }
}

static void other_paths_are_not_for_queries(void**) {
    Query query;
    QueryError error;
    for (std::string_view target :
         {"", "/", "/api/logs/", "/api/logs/a/b", "/api/log", "/api/stats/x", "/API/logs",
          "/x/../api/logs", "?device_id=x"}) {
        assert_true(parse_query(target, &query, &error) == QueryVerdict::kNoEndpoint);
    }
}

static void the_longest_question_fits(void**) {
    Query query;
    query.levels = 0x1e;
    query.from = query.to = {QueryTime::Kind::kAbsolute, 1731580200123456};
    query.format = QueryFormat::kNdjson;
    query.limit = kQueryExportLimitMax;
    query.offset = kQueryOffsetMax;
    query.ascending = true;
    query.step_s = 900;
    query.has_cursor = true;
    query.device_id.set(std::string(kDeviceIdBytesMax, '%'));
    query.text.set(std::string(kQueryTextBytesMax, '%'));
    query.contains.set(std::string(kQueryContainsBytesMax, '%'));
    assert_true(written(query).size() <= kQueryTargetBytesMax);
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(nothing_asked_means_the_defaults),
        cmocka_unit_test(what_is_asked_is_understood),
        cmocka_unit_test(a_device_in_the_path_is_a_parameter),
        cmocka_unit_test(the_same_question_is_written_in_one_way),
        cmocka_unit_test(a_file_has_no_limit_but_what_is_given),
        cmocka_unit_test(a_preferred_format_is_for_who_names_none),
        cmocka_unit_test(a_tail_has_filters_only),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(times_are_checked),
        cmocka_unit_test(what_a_record_may_not_hold_cannot_be_asked_for),
        cmocka_unit_test(unknown_and_repeated_parameters_are_named),
        cmocka_unit_test(steps_are_few),
        cmocka_unit_test(a_cursor_comes_back_as_it_was),
        cmocka_unit_test(other_paths_are_not_for_queries),
        cmocka_unit_test(the_longest_question_fits),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

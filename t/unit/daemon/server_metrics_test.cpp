// What the server tells of its requests and queries.
#include "daemon/serve/server_metrics.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

void assert_has(const std::string& page, const std::string& sample) {
    if (page.find("\n" + sample + "\n") == std::string::npos) {
        fail_msg("%s is not in\n%s", sample.c_str(), page.c_str());
    }
}

void requests_are_told_by_endpoint_and_status(void**) {
    HttpFigures http;
    http.answered(Endpoint::kLogs, 200, 700);
    http.answered(Endpoint::kLogs, 200, 20000);
    http.answered(Endpoint::kLogs, 503, 1);
    http.answered(Endpoint::kOther, 404, -1);
    http.answered(Endpoint::kLogs, 0, 1);
    const std::string page = server_metrics(http, 3, {}, {}, {});
    const std::string requests = "sluice_http_requests_total{endpoint=\"";
    assert_has(page, requests + "logs\",status=\"200\"} 2");
    assert_has(page, requests + "logs\",status=\"503\"} 1");
    assert_has(page, requests + "logs\",status=\"0\"} 1");
    assert_has(page, requests + "other\",status=\"404\"} 1");
    const std::string took = "sluice_http_request_duration_seconds_";
    assert_has(page, took + "bucket{endpoint=\"logs\",le=\"0.0005\"} 2");
    assert_has(page, took + "bucket{endpoint=\"logs\",le=\"0.001\"} 3");
    assert_has(page, took + "count{endpoint=\"logs\"} 4");
    assert_has(page, took + "sum{endpoint=\"other\"} 0");
    assert_has(page, "sluice_active_connections{kind=\"http\"} 3");
}

void queries_are_told_by_how_they_ended(void**) {
    QueryFigures queries;
    queries.ends[static_cast<size_t>(QueryEnd::kTimeout)] = 2;
    queries.times_us.seen(3000000);
    queries.connections = 4;
    queries.running = 1;
    queries.waiting = 5;
    const std::string page = server_metrics({}, 0, queries, {}, {});
    assert_has(page, "sluice_db_queries_total{end=\"done\"} 0");
    assert_has(page, "sluice_db_queries_total{end=\"timeout\"} 2");
    assert_has(page, "sluice_db_query_duration_seconds_bucket{le=\"2.5\"} 0");
    assert_has(page, "sluice_db_query_duration_seconds_bucket{le=\"5\"} 1");
    assert_has(page, "sluice_db_query_duration_seconds_sum 3");
    assert_has(page, "sluice_active_connections{kind=\"postgres\"} 4");
    assert_has(page, "sluice_server_running_queries 1");
    assert_has(page, "sluice_server_waiting_queries 5");
}

void exports_are_told_by_how_they_ended(void**) {
    ExportFigures exports;
    exports.ends[static_cast<size_t>(ExportEnd::kCutOff)] = 2;
    exports.rows = 7;
    exports.running = 1;
    const std::string page = server_metrics({}, 0, {}, exports, {});
    assert_has(page, "sluice_server_exports_total{end=\"done\"} 0");
    assert_has(page, "sluice_server_exports_total{end=\"cut_off\"} 2");
    assert_has(page, "sluice_server_exported_rows_total 7");
    assert_has(page, "sluice_server_running_exports 1");
}

// However many samples there are.
void a_page_grows_until_everything_fits(void**) {
    HttpFigures http;
    for (int status = 100; status < 2000; ++status) {
        http.answered(Endpoint::kOther, status, 0);
    }
    const std::string page = server_metrics(http, 0, {}, {}, {});
    assert_true(page.size() > 100000);
    assert_has(page, "sluice_http_requests_total{endpoint=\"other\",status=\"1999\"} 1");
    assert_has(page, "sluice_server_waiting_queries 0");
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_told_by_endpoint_and_status),
        cmocka_unit_test(queries_are_told_by_how_they_ended),
        cmocka_unit_test(exports_are_told_by_how_they_ended),
        cmocka_unit_test(a_page_grows_until_everything_fits),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

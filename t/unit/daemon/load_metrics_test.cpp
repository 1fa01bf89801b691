// What the loader counts and measures, driven by hand, and how it is told.
#include "daemon/load/load_metrics.hpp"

#include "driver.hpp"

namespace sluice::test {
namespace {

constexpr int64_t kMinuteUs = 60 * kSecondUs;

std::string page_of(Driver* driver) {
    LoadFigures figures;
    figures.add(driver->core().counts(), driver->core().histograms(),
                driver->core().gauges(driver->now_));
    return load_metrics("a", figures, {});
}

void assert_has(const std::string& page, const std::string& sample) {
    if (page.find("\n" + sample + "\n") == std::string::npos) {
        fail_msg("%s is not in\n%s", sample.c_str(), page.c_str());
    }
}

void assert_lacks(const std::string& page, const std::string& text) {
    if (page.find(text) != std::string::npos) {
        fail_msg("%s is in\n%s", text.c_str(), page.c_str());
    }
}

// Frames that were received 300 ms and 20 s before their commit, which counts for each record.
void batches_are_measured_and_records_by_how_long_they_took(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2}, 3, kNoonMs - 300);
    driver.read(RedisStep::kReadNew, {3}, 4, kNoonMs - 20000);
    const PgAction ledger = driver.pg_until(PgStep::kInsertLedger);
    driver.answer(ledger, driver.calm_answer(ledger));
    const PgAction commit = driver.pg_until(PgStep::kCommit);
    driver.pass(30 * 1000);
    driver.answer(commit, {});
    const std::string page = page_of(&driver);
    assert_has(page, "sluice_loader_rows_total{loader=\"a\"} 10");
    assert_has(page, "sluice_loader_frames_total{loader=\"a\"} 3");
    const std::string way = "sluice_loader_receipt_to_stored_seconds_bucket{loader=\"a\",le=\"";
    assert_has(page, way + "0.25\"} 0");
    assert_has(page, way + "0.5\"} 6");
    assert_has(page, way + "10\"} 6");
    assert_has(page, way + "30\"} 10");
    const std::string batch = "sluice_loader_batch_";
    assert_has(page, batch + "rows_bucket{loader=\"a\",le=\"1\"} 0");
    assert_has(page, batch + "rows_bucket{loader=\"a\",le=\"10\"} 1");
    assert_has(page, batch + "rows_sum{loader=\"a\"} 10");
    assert_has(page, batch + "bytes_count{loader=\"a\"} 1");
    assert_has(page, batch + "seconds_bucket{loader=\"a\",le=\"0.025\"} 0");
    assert_has(page, batch + "seconds_bucket{loader=\"a\",le=\"0.05\"} 1");
}

// An edge whose clock is ahead: it took no time, rather than centuries.
void duplicates_are_no_records_and_no_time_is_negative(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1}, 2, kNoonMs + 3600 * 1000);
    driver.commit();
    driver.ledger_knows_all(true);
    driver.read(RedisStep::kReadNew, {2}, 2, kNoonMs);
    driver.commit();
    const std::string page = page_of(&driver);
    assert_has(page, "sluice_loader_duplicate_frames_total{loader=\"a\"} 1");
    assert_has(page, "sluice_loader_rows_total{loader=\"a\"} 2");
    const std::string way = "sluice_loader_receipt_to_stored_seconds_";
    assert_has(page, way + "bucket{loader=\"a\",le=\"0.01\"} 2");
    assert_has(page, way + "count{loader=\"a\"} 2");
    assert_has(page, way + "sum{loader=\"a\"} 0");
}

void what_failed_is_told_by_its_class(void**) {
    Driver driver;
    driver.refuse(driver.redis_until(RedisStep::kReadNew), RedisStatus::kLost);
    driver.refuse(driver.redis_until(RedisStep::kReadNew), RedisStatus::kNoGroup);
    driver.read(RedisStep::kReadNew, {1});
    driver.refuse(driver.pg_until(PgStep::kCommit), PgStatus::kRetry);
    driver.refuse(driver.pg_until(PgStep::kCommit), PgStatus::kRetry);
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kRefused);
    const std::string page = page_of(&driver);
    const std::string redis = "sluice_loader_redis_retries_total{loader=\"a\",class=\"";
    assert_has(page, redis + "lost\"} 1");
    assert_has(page, redis + "no_group\"} 1");
    assert_has(page, redis + "refused\"} 0");
    const std::string postgres = "sluice_loader_postgres_retries_total{loader=\"a\",class=\"";
    assert_has(page, postgres + "retry\"} 2");
    assert_has(page, postgres + "refused\"} 1");
    assert_has(page, postgres + "lost\"} 0");
    assert_lacks(page, "class=\"ok\"");
}

void dead_letters_are_told_by_their_reason_once_they_are_committed(void**) {
    for (const auto& [sqlstate, reason] :
         {std::make_pair("22P02", "data"), std::make_pair("23502", "constraint"),
          std::make_pair("54000", "limit")}) {
        Driver driver;
        driver.read(RedisStep::kReadNew, {1}, 1);
        PgReply bad;
        bad.status = PgStatus::kBadData;
        bad.sqlstate = sqlstate;
        for (int i = 0; i < 2; ++i) {
            driver.answer(driver.pg_until(PgStep::kCopy), bad);
        }
        const PgAction letter = driver.pg_until(PgStep::kDeadLetter);
        driver.answer(letter, driver.calm_answer(letter));
        const std::string sample = "sluice_loader_dead_letters_total{loader=\"a\",reason=\"" +
                                   std::string(reason) + "\"} ";
        assert_has(page_of(&driver), sample + "0");
        driver.commit();
        assert_has(page_of(&driver), sample + "1");
        assert_has(page_of(&driver),
                   "sluice_loader_dead_letters_total{loader=\"a\",reason=\"entry\"} 0");
    }
}

void what_is_claimed_is_told_unless_it_was_ours(void**) {
    Driver driver;
    driver.read(RedisStep::kReadOwn, {});
    driver.read(RedisStep::kReadNew, {1});
    driver.pg_until(PgStep::kCommit);
    driver.pass(kMinuteUs);
    driver.read(RedisStep::kClaim, {1, 2, 3});
    assert_has(page_of(&driver), "sluice_loader_claimed_entries_total{loader=\"a\"} 2");
}

void the_backlog_is_told_once_it_is_known(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1}, 5);
    assert_lacks(page_of(&driver), "backlog");
    const PgAction commit = driver.pg_until(PgStep::kCommit);
    const RedisAction measure = driver.redis_until(RedisStep::kMeasure);
    RedisResult result;
    GroupPosition group;
    group.name = "log_workers";
    group.last_delivered = {1, 7};
    group.pending = 7;
    result.groups = {group};
    result.stream = {10, 10, {1, 10}};
    driver.answer(measure, std::move(result));
    // What others hold, and what nobody was given, is as large as what this one read.
    for (int look = 0; look < 2; ++look) {
        RedisResult found;
        found.samples = {{1, 5, 200, {1, 8}, {1, 8}}};
        driver.answer(driver.redis_until(RedisStep::kLook), std::move(found));
    }
    const std::string page = page_of(&driver);
    assert_has(page, "sluice_loader_backlog_entries{loader=\"a\"} 10");
    assert_has(page, "sluice_loader_backlog_records{loader=\"a\"} 50");
    assert_has(page, "sluice_loader_pending_entries{loader=\"a\"} 7");
    assert_has(page, "sluice_loader_connections{loader=\"a\",to=\"redis\"} 1");
    assert_has(page, "sluice_loader_connections{loader=\"a\",to=\"postgres\"} 1");
    driver.answer(commit, {});
}

void clocks_of_edges_are_held_against_those_of_ids(void**) {
    EdgeClocks clocks;
    int64_t now = 5 * kMinuteUs;
    assert_int_equal(clocks.ahead_ms(now), 0);
    clocks.seen(1500, 1000, now);
    clocks.seen(1200, 1000, now);
    clocks.seen(900, 1000, now);
    assert_int_equal(clocks.ahead_ms(now), 500);
    assert_int_equal(clocks.behind_ms(now), 100);
    // In the next minute it is told still, then forgotten: also when no frame comes any more.
    now += kMinuteUs;
    assert_int_equal(clocks.ahead_ms(now), 500);
    clocks.seen(1001, 1000, now);
    assert_int_equal(clocks.ahead_ms(now), 500);
    assert_int_equal(clocks.ahead_ms(now + kMinuteUs), 1);
    assert_int_equal(clocks.behind_ms(now + kMinuteUs), 0);
    assert_int_equal(clocks.ahead_ms(now + 2 * kMinuteUs), 0);
}

void consumers_are_added_up_but_the_backlog_is_everybodys(void**) {
    LoadFigures figures;
    for (int i = 0; i < 2; ++i) {
        LoadCounts counts;
        counts.rows_stored = 10;
        counts.redis_answers[static_cast<size_t>(RedisStatus::kLost)] = 2;
        LoadHistograms histograms;
        histograms.batch_us.seen(1000);
        LoadGauges gauges;
        gauges.redis_connected = i == 0;
        gauges.state.drain.records = 100;
        gauges.state.backlog_known = true;
        gauges.state.backlog_entries = 70;
        gauges.edges_ahead_ms = 100 + i;
        figures.add(counts, histograms, gauges);
    }
    KeeperFigures keeper;
    keeper.known = true;
    keeper.durability.fsync = false;
    keeper.required.full_page_writes = false;
    keeper.partitions = {3, 40, true};
    keeper.redis = {true, Durability::kEverysec, Durability::kFsync};
    const std::string page = load_metrics("x\"\\\n", figures, keeper);
    const std::string labels = "{loader=\"x\\\"\\\\\\n\"";
    assert_has(page, "sluice_loader_consumers" + labels + "} 2");
    assert_has(page, "sluice_loader_rows_total" + labels + "} 20");
    assert_has(page, "sluice_loader_redis_retries_total" + labels + ",class=\"lost\"} 4");
    assert_has(page, "sluice_loader_batch_seconds_count" + labels + "} 2");
    assert_has(page, "sluice_loader_connections" + labels + ",to=\"redis\"} 1");
    assert_has(page, "sluice_loader_drain_records_per_second" + labels + "} 200");
    assert_has(page, "sluice_loader_backlog_entries" + labels + "} 70");
    assert_has(page, "sluice_loader_edge_clock_skew_seconds" + labels + ",side=\"ahead\"} 0.101");
    assert_has(page, "sluice_loader_postgres_setting" + labels + ",setting=\"fsync\"} 0");
    assert_has(page,
               "sluice_loader_postgres_setting" + labels + ",setting=\"full_page_writes\"} 1");
    assert_has(page, "sluice_loader_redis_durability" + labels + "} 2");
    assert_has(page, "sluice_loader_redis_durability_required" + labels + "} 3");
    const std::string required = "sluice_loader_postgres_setting_required" + labels;
    assert_has(page, required + ",setting=\"fsync\"} 1");
    assert_has(page, required + ",setting=\"full_page_writes\"} 0");
    assert_has(page, "sluice_loader_partitions" + labels + ",table=\"ledger\"} 40");
    assert_has(page, "sluice_loader_tomorrow_partition" + labels + "} 1");
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_measured_and_records_by_how_long_they_took),
        cmocka_unit_test(duplicates_are_no_records_and_no_time_is_negative),
        cmocka_unit_test(what_failed_is_told_by_its_class),
        cmocka_unit_test(dead_letters_are_told_by_their_reason_once_they_are_committed),
        cmocka_unit_test(what_is_claimed_is_told_unless_it_was_ours),
        cmocka_unit_test(the_backlog_is_told_once_it_is_known),
        cmocka_unit_test(clocks_of_edges_are_held_against_those_of_ids),
        cmocka_unit_test(consumers_are_added_up_but_the_backlog_is_everybodys),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// What sluiced status makes of what it has found out.
#include "daemon/commands/status_report.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

constexpr uint64_t kMegabyte = 1024 * 1024;

StatusReport busy() {
    StatusReport report;
    report.redis.durability = Durability::kFsync;
    report.redis.used_bytes = 56 * kMegabyte;
    report.redis.bytes_max = 256 * kMegabyte;
    report.redis.loader_tells = true;
    report.redis.postgres_up = true;
    report.redis.drain = {12000, 3 * kMegabyte};
    report.redis.backlog_entries = 12;
    report.redis.backlog = {4000, 300 * 1024};
    report.redis.oldest_age_s = 0.4;
    report.redis.intake = Amount{2000, kMegabyte};
    report.postgres.last_hour_records = 1234567;
    report.postgres.newest_age_s = 0.25;
    report.postgres.dead_letters = 3;
    report.postgres.newest_dead_letter = "2024-11-14T10:30:00Z";
    report.postgres.logs = {{"logs_20241115", 0}, {"logs_20241114", 5 * kMegabyte}};
    report.postgres.ledger_partitions = 4;
    report.postgres.ledger_bytes = 8192;
    return report;
}

void all_of_it_is_told(void**) {
    assert_true(busy().good());
    assert_text_equal(
        status_text(busy()),
        "redis         durability fsync; 56.0 MB of 256 MB used (21 %); full in 3 min 20 s at the"
        " present rate if Postgres stays away\n"
        "loader        runs, and reaches Postgres\n"
        "backlog       4,000 records, 300 KB, in 12 entries; the oldest for 0.4 s; gone in 0.4 s\n"
        "intake        2,000 records/s, 1.0 MB/s\n"
        "drain         12,000 records/s, 3.0 MB/s, while there is work\n"
        "postgres      answers; 1,234,567 records of the last hour are stored\n"
        "lag           the newest stored record came 0.2 s ago\n"
        "dead letters  3, the newest of 2024-11-14T10:30:00Z: see sluiced dead-letters list\n"
        "partitions    2 days of logs, 5.0 MB; 4 hours of ledger, 8.0 KB\n"
        "              logs_20241115  0 B\n"
        "              logs_20241114  5.0 MB\n");
}

void scripts_get_the_same(void**) {
    assert_text_equal(
        status_json(busy()),
        R"({"ok":true,"redis":{"error":"","durability":"fsync","used_bytes":58720256,)"
        R"("maxmemory_bytes":268435456,"full_in_seconds":200.000},)"
        R"("loader":{"runs":true,"reaches_postgres":true},)"
        R"("backlog":{"entries":12,"records":4000,"bytes":307200,"oldest_seconds":0.400,)"
        R"("gone_in_seconds":0.400},"intake_per_second":{"records":2000,"bytes":1048576},)"
        R"("drain_per_second":{"records":12000,"bytes":3145728},"postgres":{"error":""},)"
        R"("lag_seconds":0.250,"last_hour_records":1234567,"dead_letters":3,)"
        R"("partitions":[{"name":"logs_20241115","bytes":0},)"
        R"({"name":"logs_20241114","bytes":5242880}],"ledger":{"partitions":4,"bytes":8192}})");
}

void what_is_unknown_is_null(void**) {
    StatusReport report;
    report.redis.error = "gone";
    report.postgres.error = "gone too";
    assert_false(report.good());
    assert_text_equal(status_text(report),
                      "redis         cannot be asked: gone\n"
                      "postgres      cannot be asked: gone too\n");
    assert_text_equal(status_json(report),
                      R"({"ok":false,"redis":{"error":"gone","durability":null,"used_bytes":null,)"
                      R"("maxmemory_bytes":0,"full_in_seconds":null},)"
                      R"("loader":{"runs":false,"reaches_postgres":false},"backlog":null,)"
                      R"("intake_per_second":null,"drain_per_second":{"records":0,"bytes":0},)"
                      R"("postgres":{"error":"gone too"}})");
}

void how_long_redis_holds(void**) {
    RedisStatusReport redis = busy().redis;
    assert_true(*hold_seconds(redis) == 200);
    // Each entry takes memory besides its rows: half of all, of small records one by one.
    redis.intake_entries = redis.intake->bytes / 64;
    assert_true(*hold_seconds(redis) == 100);
    redis.used_bytes = redis.bytes_max + 1;
    assert_true(*hold_seconds(redis) == 0);
    redis.intake->bytes = 0;
    assert_false(hold_seconds(redis).has_value());
    redis = busy().redis;
    redis.bytes_max = 0;
    assert_false(hold_seconds(redis).has_value());
}

void how_long_until_nothing_waits(void**) {
    RedisStatusReport redis = busy().redis;
    assert_true(*drain_seconds(redis) == 0.4);
    redis.intake->records = 12000;
    assert_false(drain_seconds(redis).has_value());
    redis = busy().redis;
    redis.postgres_up = false;
    assert_false(drain_seconds(redis).has_value());
    redis.backlog_entries = 0;
    assert_true(*drain_seconds(redis) == 0);
}

void good_is_when_logs_are_stored(void**) {
    for (bool RedisStatusReport::*needed :
         {&RedisStatusReport::loader_tells, &RedisStatusReport::postgres_up}) {
        StatusReport report = busy();
        report.redis.*needed = false;
        assert_false(report.good());
    }
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_is_told),
        cmocka_unit_test(scripts_get_the_same),
        cmocka_unit_test(what_is_unknown_is_null),
        cmocka_unit_test(how_long_redis_holds),
        cmocka_unit_test(how_long_until_nothing_waits),
        cmocka_unit_test(good_is_when_logs_are_stored),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// What sluiced check makes of what Redis and Postgres tell.
#include "daemon/commands/postgres_rules.hpp"
#include "daemon/commands/redis_rules.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

RedisFacts good_redis() {
    RedisFacts facts;
    facts.info = {{"redis_version", "7.0.15"},
                  {"loading", "0"},
                  {"role", "master"},
                  {"aof_last_write_status", "ok"},
                  {"aof_rewrite_in_progress", "1"},  // of one that there is
                  {"aof_base_size", "88"},
                  {"aof_last_bgrewrite_status", "ok"},
                  {"rdb_last_bgsave_status", "ok"},
                  {"maxmemory", "1000000"},
                  {"used_memory", "100000"},
                  {"total_system_memory", "4000000"}};
    facts.config = {{"appendonly", "yes"},
                    {"appendfsync", "always"},
                    {"no-appendfsync-on-rewrite", "no"},
                    {"maxmemory-policy", "noeviction"},
                    {"save", ""},
                    {"stop-writes-on-bgsave-error", "yes"}};
    return facts;
}

PostgresSettings good_postgres() {
    return {{"server_version", "15.4"},  {"server_version_num", "150004"},
            {"server_encoding", "UTF8"}, {"fsync", "on"},
            {"full_page_writes", "on"},  {"synchronous_commit", "on"},
            {"wal_level", "replica"},    {"default_transaction_read_only", "off"},
            {"lock_timeout", "0"},       {"idle_session_timeout", "0"}};
}

// "name:verdict" of each that is not ok; each of them says what to do, and no other does.
std::string trouble(const Findings& findings) {
    std::string text;
    for (const Finding& finding : findings) {
        assert_int_equal(finding.todo.empty(), finding.verdict == Verdict::kOk);
        if (finding.verdict != Verdict::kOk) {
            text += (text.empty() ? "" : " ") + std::string(finding.check) + ":" +
                    name_of(finding.verdict);
        }
    }
    return text;
}

std::string redis_trouble(const char* name, const char* value,
                          Durability wanted = Durability::kFsync) {
    RedisFacts facts = good_redis();
    (facts.info.count(name) != 0 ? facts.info : facts.config)[name] = value;
    return trouble(judge_redis(facts, wanted));
}

std::string postgres_trouble(const char* name, const char* value, bool durable = true) {
    PostgresSettings settings = good_postgres();
    settings[name] = value;
    return trouble(judge_postgres(settings, false, durable));
}

void all_is_well(void**) {
    assert_text_equal(trouble(judge_redis(good_redis(), Durability::kFsync)), "");
    assert_int_equal(judge_redis(good_redis(), Durability::kFsync).size(), 9);
    assert_text_equal(trouble(judge_postgres(good_postgres(), false, true)), "");
    assert_int_equal(judge_postgres(good_postgres(), false, true).size(), 8);
}

void each_thing_that_is_wrong_with_redis_is_found(void**) {
    assert_text_equal(redis_trouble("redis_version", "6.0.16"), "redis_version:FAIL");
    assert_text_equal(redis_trouble("redis_version", "5"), "redis_version:FAIL");
    assert_text_equal(redis_trouble("redis_version", "6.2.7"), "redis_version:warn");
    assert_text_equal(redis_trouble("redis_version", "10.1.0"), "");
    assert_text_equal(redis_trouble("loading", "1"), "redis_loading:FAIL");
    assert_text_equal(redis_trouble("role", "slave"), "redis_role:FAIL");
    assert_text_equal(redis_trouble("appendonly", "no"), "redis_appendonly:FAIL");
    assert_text_equal(redis_trouble("appendfsync", "everysec"), "redis_appendfsync:FAIL");
    assert_text_equal(redis_trouble("appendfsync", "no"), "redis_appendfsync:FAIL");
    assert_text_equal(redis_trouble("no-appendfsync-on-rewrite", "yes"), "redis_rewrite:FAIL");
    assert_text_equal(redis_trouble("aof_last_write_status", "err"), "redis_aof_write:FAIL");
    assert_text_equal(redis_trouble("aof_base_size", "0"), "redis_aof_write:FAIL");
    assert_text_equal(redis_trouble("aof_last_bgrewrite_status", "err"), "redis_aof_write:warn");
    assert_text_equal(redis_trouble("maxmemory-policy", "allkeys-lru"), "redis_policy:FAIL");
    assert_text_equal(redis_trouble("maxmemory", "0"), "redis_maxmemory:warn");
    assert_text_equal(redis_trouble("maxmemory", "3000000"), "redis_maxmemory:warn");
    assert_text_equal(redis_trouble("used_memory", "600000"), "redis_maxmemory:warn");
    assert_text_equal(redis_trouble("used_memory", "599999"), "");
    assert_text_equal(redis_trouble("save", "3600 1"), "redis_snapshots:warn");
}

void a_failed_snapshot_stops_writes_only_where_it_is_set_so(void**) {
    RedisFacts facts = good_redis();
    facts.info["rdb_last_bgsave_status"] = "err";
    assert_text_equal(trouble(judge_redis(facts, Durability::kFsync)), "");
    facts.config["save"] = "60 1";
    assert_text_equal(trouble(judge_redis(facts, Durability::kFsync)), "redis_snapshots:FAIL");
    facts.config["stop-writes-on-bgsave-error"] = "no";
    assert_text_equal(trouble(judge_redis(facts, Durability::kFsync)), "");
}

void less_may_be_promised(void**) {
    assert_text_equal(redis_trouble("appendfsync", "everysec", Durability::kEverysec), "");
    assert_text_equal(redis_trouble("appendfsync", "no", Durability::kEverysec),
                      "redis_appendfsync:FAIL");
    assert_text_equal(redis_trouble("appendfsync", "no", Durability::kMemory), "");
    assert_text_equal(redis_trouble("appendonly", "no", Durability::kMemory),
                      "redis_appendonly:warn");
    assert_text_equal(redis_trouble("role", "slave", Durability::kMemory), "redis_role:FAIL");
    assert_text_equal(redis_trouble("maxmemory-policy", "volatile-ttl", Durability::kMemory),
                      "redis_policy:FAIL");
}

void each_thing_that_is_wrong_with_postgres_is_found(void**) {
    assert_text_equal(postgres_trouble("server_version_num", "130012"), "postgres_version:FAIL");
    assert_text_equal(postgres_trouble("server_encoding", "LATIN1"), "postgres_encoding:FAIL");
    assert_text_equal(postgres_trouble("fsync", "off"), "postgres_fsync:FAIL");
    assert_text_equal(postgres_trouble("full_page_writes", "off"),
                      "postgres_full_page_writes:FAIL");
    // postgres.durability may ask for less.
    assert_text_equal(postgres_trouble("fsync", "off", false), "postgres_fsync:warn");
    assert_text_equal(postgres_trouble("full_page_writes", "off", false),
                      "postgres_full_page_writes:warn");
    assert_text_equal(postgres_trouble("synchronous_commit", "off"),
                      "postgres_synchronous_commit:warn");
    assert_text_equal(postgres_trouble("synchronous_commit", "remote_apply"), "");
    assert_text_equal(postgres_trouble("wal_level", "minimal"), "postgres_wal_level:warn");
    assert_text_equal(postgres_trouble("default_transaction_read_only", "on"),
                      "postgres_read_only:FAIL");
    assert_text_equal(postgres_trouble("lock_timeout", "100"), "postgres_limits:warn");
    assert_text_equal(postgres_trouble("idle_session_timeout", "1"), "postgres_limits:warn");
    assert_text_equal(postgres_trouble("transaction_timeout", "1"), "postgres_limits:warn");
    // A standby's transactions are read only anyway.
    PostgresSettings standby = good_postgres();
    standby["default_transaction_read_only"] = "on";
    assert_text_equal(trouble(judge_postgres(standby, true, true)), "postgres_recovery:FAIL");
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(all_is_well),
        cmocka_unit_test(each_thing_that_is_wrong_with_redis_is_found),
        cmocka_unit_test(a_failed_snapshot_stops_writes_only_where_it_is_set_so),
        cmocka_unit_test(less_may_be_promised),
        cmocka_unit_test(each_thing_that_is_wrong_with_postgres_is_found),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// How durable a Redis is, by what it tells: as the edge sees it.
#include "daemon/redis_durability.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

RedisFacts good_facts() {
    RedisFacts facts;
    facts.info = {{"role", "master"}, {"aof_last_write_status", "ok"}, {"maxmemory", "1000000"}};
    facts.config = {{"appendonly", "yes"},
                    {"appendfsync", "always"},
                    {"no-appendfsync-on-rewrite", "no"},
                    {"maxmemory-policy", "noeviction"}};
    return facts;
}

void assert_gives(const RedisFacts& facts, Durability level, const char* why) {
    assert_int_equal(durability_of(facts).level, level);
    assert_string_equal(durability_of(facts).why, why);
}

void assert_gives(const char* name, const char* value, Durability level, const char* why) {
    RedisFacts facts = good_facts();
    (facts.info.count(name) != 0 ? facts.info : facts.config)[name] = value;
    assert_gives(facts, level, why);
}

void each_thing_that_makes_it_less_is_seen(void**) {
    assert_gives(good_facts(), Durability::kFsync, "");
    assert_gives("appendfsync", "everysec", Durability::kEverysec, "appendfsync is lower");
    assert_gives("appendfsync", "no", Durability::kMemory, "appendfsync is lower");
    assert_gives("appendonly", "no", Durability::kMemory, "appendonly is off");
    assert_gives("aof_last_write_status", "err", Durability::kMemory,
                 "its last write to the AOF failed");
    assert_gives("no-appendfsync-on-rewrite", "yes", Durability::kMemory,
                 "no-appendfsync-on-rewrite is on: nothing is synced while the AOF is rewritten");
    assert_gives("role", "slave", Durability::kUnsafe, "it is not a master");
    assert_gives("maxmemory-policy", "allkeys-lru", Durability::kUnsafe,
                 "its maxmemory-policy may evict the stream: set noeviction");
}

void an_aof_that_is_only_begun_is_none(void**) {
    RedisFacts facts = good_facts();
    facts.info["aof_base_size"] = "0";
    facts.info["aof_rewrite_in_progress"] = "0";
    assert_gives(facts, Durability::kFsync, "");
    const char* const signs[][2] = {{"aof_rewrite_in_progress", "1"},
                                    {"aof_rewrite_scheduled", "1"},
                                    {"aof_last_bgrewrite_status", "err"}};
    for (const auto& [name, value] : signs) {
        RedisFacts begun = facts;
        begun.info[name] = value;
        assert_gives(begun, Durability::kMemory,
                     "appendonly was switched on, and the AOF is not written yet");
        // One that there was before is written anew.
        begun.info["aof_base_size"] = "88";
        assert_gives(begun, Durability::kFsync, "");
    }
}

void what_is_not_told_is_not_trusted(void**) {
    for (std::string RedisFacts::*error : {&RedisFacts::info_error, &RedisFacts::config_error}) {
        RedisFacts facts = good_facts();
        facts.*error = "NOPERM";
        assert_gives(facts, Durability::kUnsafe,
                     "it does not tell (may this user run INFO and CONFIG GET?)");
    }
}

void a_level_has_a_name(void**) {
    for (const Durability level :
         {Durability::kMemory, Durability::kEverysec, Durability::kFsync}) {
        Durability parsed = Durability::kUnsafe;
        assert_true(parse_durability(name_of(level), &parsed));
        assert_int_equal(parsed, level);
    }
    Durability parsed{};
    assert_false(parse_durability("unsafe", &parsed));
    assert_false(parse_durability("", &parsed));
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(each_thing_that_makes_it_less_is_seen),
        cmocka_unit_test(an_aof_that_is_only_begun_is_none),
        cmocka_unit_test(what_is_not_told_is_not_trusted),
        cmocka_unit_test(a_level_has_a_name),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// How much waits and how fast it goes, for every state of Redis' own counters.
#include "daemon/load/backlog.hpp"

#include "driver.hpp"

namespace sluice::test {
namespace {

constexpr uint64_t kNotTold = UINT64_MAX;

// Ids are 1-<number of the entry>, so that a position is an id.
GroupPosition at(uint64_t delivered, uint64_t pending, uint64_t entries_read = kNotTold) {
    GroupPosition group;
    group.name = "log_workers";
    group.last_delivered = {1, delivered};
    group.pending = pending;
    group.entries_read_known = entries_read != kNotTold;
    group.entries_read = group.entries_read_known ? entries_read : 0;
    return group;
}

// Of so many that were added the oldest are trimmed.
StreamLength stream(uint64_t added, uint64_t trimmed) {
    return {added - trimmed, added, {1, added}};
}

void what_is_delivered_and_what_is_not_waits(void**) {
    BacklogCount count;
    assert_int_equal(count.entries(stream(0, 0), at(0, 0)), 0);
    assert_int_equal(count.entries(stream(100, 0), at(0, 0)), 100);
    assert_int_equal(count.entries(stream(100, 0), at(40, 40, 40)), 100);
    // Acknowledged, whether trimmed or not: other groups may hold that up for long.
    assert_int_equal(count.entries(stream(100, 0), at(40, 0, 40)), 60);
    assert_int_equal(count.entries(stream(100, 30), at(40, 5, 40)), 65);
    assert_int_equal(count.entries(stream(100, 30), at(100, 3, 100)), 3);
    assert_int_equal(count.entries(stream(100, 100), at(100, 0, 100)), 0);
}

void after_a_restart_of_redis_it_is_bounded_until_the_end_is_seen(void**) {
    BacklogCount count;
    // Without a counter, and with one that stood still at 10 while 50 were delivered.
    assert_int_equal(count.entries(stream(100, 30), at(50, 5)), 70);
    assert_int_equal(count.entries(stream(100, 30), at(50, 5, 10)), 70);
    assert_int_equal(count.entries(stream(100, 30), at(100, 5, 60)), 5);
    assert_int_equal(count.entries(stream(110, 30), at(100, 0, 60)), 10);
    assert_int_equal(count.entries(stream(200, 30), at(150, 20, 110)), 70);
    // Another life of Redis.
    count.forget();
    assert_int_equal(count.entries(stream(200, 30), at(150, 20, 110)), 20 + 90);
}

void what_is_kept_for_who_watches_does_not_wait(void**) {
    BacklogCount count;
    StreamLength length = stream(100, 30);
    length.kept = 20;
    assert_int_equal(count.entries(length, at(50, 5)), 50);
    // What Redis counts itself wants no help.
    assert_int_equal(count.entries(length, at(50, 5, 50)), 55);
    length.kept = 200;  // told before somebody trimmed by hand
    assert_int_equal(count.entries(length, at(50, 5)), 5);
}

void entries_that_were_deleted_by_hand_do_not_wait(void**) {
    BacklogCount count;
    // Of ten not delivered all but one are gone, and Redis counts on as if they were there.
    assert_int_equal(count.entries({1, 100, {1, 100}}, at(90, 0, 90)), 1);
    assert_int_equal(count.entries({0, 100, {1, 100}}, at(90, 0, 90)), 0);
    // Pending, but no longer there.
    assert_int_equal(count.entries({2, 100, {1, 100}}, at(90, 7, 90)), 7);
    // A group set back by hand, or ahead.
    assert_int_equal(count.entries({50, 100, {1, 100}}, at(70, 0, 130)), 1);
    assert_int_equal(count.entries({50, 100, {1, 100}}, at(130, 2, 130)), 2);
}

void an_entry_holds_what_those_before_it_held(void**) {
    EntrySize size;
    assert_int_equal(size.of(7).records, 7);
    assert_int_equal(size.of(7).bytes, 0);
    size.seen(100, 20000);
    assert_int_equal(size.of(3).records, 300);
    assert_int_equal(size.of(3).bytes, 60000);
    for (int i = 0; i < 500; ++i) {
        size.seen(i % 2 == 0 ? 10 : 30, 4000);
    }
    assert_in_range(size.of(1000).records, 19000, 21000);
    assert_in_range(size.of(1000).bytes, 3999000, 4001000);
}

void the_rate_is_that_of_the_time_with_work(void**) {
    DrainRate rate;
    int64_t now_us = 0;
    rate.pass(now_us, false);
    assert_int_equal(rate.a_second().records, 0);
    // At once, and not only when its seconds have passed.
    for (int i = 0; i < 5; ++i) {
        rate.pass(now_us += 100 * 1000, true);
        rate.stored(1000, 200000);
    }
    assert_in_range(rate.a_second().records, 9500, 11000);
    assert_in_range(rate.a_second().bytes, 1900000, 2200000);
    const uint64_t before = rate.a_second().records;
    rate.pass(now_us += 3600 * kSecondUs, false);
    assert_int_equal(rate.a_second().records, before);
    // Slower from now on.
    for (int i = 0; i < 200; ++i) {
        rate.pass(now_us += 100 * 1000, true);
        rate.stored(10, 2000);
    }
    assert_in_range(rate.a_second().records, 95, 310);
    // There is work, and nothing goes.
    rate.pass(now_us += 60 * kSecondUs, true);
    assert_int_equal(rate.a_second().records, 0);
}

RedisResult figures(const StreamLength& length, GroupPosition group) {
    RedisResult result;
    result.stream = length;
    result.groups = {at(3, 0), std::move(group)};
    result.groups[0].name = "archive";
    return result;
}

// Of entries with so many records, of 40 bytes each.
RedisResult sample(uint64_t records) {
    RedisResult result;
    result.samples = {{1, records, records * 40, {1, 3}, {1, 3}}};
    return result;
}

void what_this_consumer_holds_is_counted_and_not_guessed(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2}, 50);
    driver.refuse(driver.pg_until(PgStep::kInsertLedger), PgStatus::kLost);
    driver.read(RedisStep::kReadNew, {3, 4, 5}, 1);
    driver.answer(driver.redis_until(RedisStep::kMeasure), figures(stream(5, 0), at(5, 5, 5)));
    LoadState state = driver.redis_until(RedisStep::kPublish).state;
    assert_int_equal(state.backlog_entries, 5);
    assert_int_equal(state.backlog.records, 103);
    assert_int_equal(state.backlog.bytes, 103 * make_rows(1).size());
    driver.answer(driver.redis_until(RedisStep::kPublish), {});
    // Another one holds ten, like those that this one read lately.
    driver.answer(driver.redis_until(RedisStep::kMeasure), figures(stream(15, 0), at(15, 15, 15)));
    state = driver.redis_until(RedisStep::kPublish).state;
    assert_in_range(state.backlog.records, 103 + 10, 103 + 10 * 50);
    driver.answer(driver.redis_until(RedisStep::kPublish), {});
    // Stored, and only to be acknowledged: Redis still counts them.
    const RedisAction measure = driver.redis_until(RedisStep::kMeasure);
    driver.commit();
    driver.answer(measure, figures(stream(5, 0), at(5, 5, 5)));
    assert_int_equal(driver.core().gauges(driver.now_).state.backlog.records, 3);
}

void what_may_not_be_looked_at_is_told_all_the_same(void**) {
    Driver driver;
    driver.pg_until(PgStep::kWait);
    driver.answer(driver.redis_until(RedisStep::kMeasure), figures(stream(7, 0), at(0, 0)));
    driver.refuse(driver.redis_until(RedisStep::kLook), RedisStatus::kRefused);
    const RedisAction next = driver.core().next_redis(driver.now_);
    assert_int_equal(static_cast<int>(next.step), static_cast<int>(RedisStep::kPublish));
    assert_int_equal(next.state.backlog.records, 7);
}

void the_edge_is_told_how_much_waits_and_how_fast_it_goes(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2}, 50);
    const int64_t began_us = driver.now_.steady_us;
    const PgAction commit = driver.pg_until(PgStep::kCommit);
    driver.pass(kSecondUs / 10);
    driver.answer(commit, {});
    const double seconds = static_cast<double>(driver.now_.steady_us - began_us) / kSecondUs;
    driver.answer(driver.redis_until(RedisStep::kMeasure), figures(stream(20, 0), at(2, 2, 2)));
    // Where the oldest lies that nobody was given; then at more of them.
    const RedisAction first = driver.redis_until(RedisStep::kLook);
    assert_ids(first.places, {3});
    driver.answer(first, sample(30));
    driver.answer(driver.redis_until(RedisStep::kLook), sample(30));
    const LoadState state = driver.redis_until(RedisStep::kPublish).state;
    assert_true(state.postgres_up);
    assert_true(state.backlog_known);
    assert_int_equal(state.backlog_entries, 20);
    assert_int_equal(state.backlog.records, 2 * 50 + 18 * 30);
    const uint64_t row_bytes = make_rows(1).size();
    assert_int_equal(state.backlog.bytes, 2 * 50 * row_bytes + 18 * 30 * 40);
    assert_in_range(state.drain.records, 100 / seconds * 0.9, 100 / seconds * 1.1);
    assert_true(state.drain.bytes > state.drain.records * 5);
}

void it_is_told_twice_a_second_and_measured_anew_each_time(void**) {
    Driver driver;
    driver.pg_until(PgStep::kWait);
    for (int i = 0; i < 5; ++i) {
        const int64_t before_us = driver.now_.steady_us;
        const auto n = static_cast<uint64_t>(i);
        driver.answer(driver.redis_until(RedisStep::kMeasure), figures(stream(n, 0), at(0, 0)));
        const RedisAction publish = driver.redis_until(RedisStep::kPublish);
        assert_int_equal(publish.state.backlog_entries, n);
        driver.answer(publish, {});
        assert_true(driver.now_.steady_us - before_us <= kSecondUs / 2);
        while (driver.core().next_pg(driver.now_).step == PgStep::kCheck) {
            driver.answer(driver.core().next_pg(driver.now_), {});
        }
    }
}

void what_redis_counted_in_another_life_is_not_relied_on(void**) {
    Driver driver;
    driver.pg_until(PgStep::kWait);
    const auto told = [&](const StreamLength& length, const GroupPosition& group) {
        driver.answer(driver.redis_until(RedisStep::kMeasure), figures(length, group));
        const RedisAction publish = driver.redis_until(RedisStep::kPublish);
        driver.answer(publish, {});
        return publish.state.backlog_entries;
    };
    assert_int_equal(told(stream(100, 20), at(100, 0, 40)), 0);
    assert_int_equal(told(stream(110, 20), at(100, 0, 40)), 10);
    driver.refuse(driver.redis_until(RedisStep::kReadNew), RedisStatus::kLost);
    assert_int_equal(told(stream(110, 20), at(100, 0, 40)), 70);
}

void what_cannot_be_measured_is_not_told(void**) {
    Driver driver;
    driver.pg_until(PgStep::kWait);
    driver.answer(driver.redis_until(RedisStep::kMeasure), figures(stream(7, 0), at(0, 0)));
    driver.answer(driver.redis_until(RedisStep::kPublish), {});
    driver.refuse(driver.redis_until(RedisStep::kMeasure), RedisStatus::kRefused);
    const LoadState state = driver.redis_until(RedisStep::kPublish).state;
    assert_true(state.postgres_up);
    assert_false(state.backlog_known);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_is_delivered_and_what_is_not_waits),
        cmocka_unit_test(after_a_restart_of_redis_it_is_bounded_until_the_end_is_seen),
        cmocka_unit_test(what_is_kept_for_who_watches_does_not_wait),
        cmocka_unit_test(entries_that_were_deleted_by_hand_do_not_wait),
        cmocka_unit_test(an_entry_holds_what_those_before_it_held),
        cmocka_unit_test(the_rate_is_that_of_the_time_with_work),
        cmocka_unit_test(what_this_consumer_holds_is_counted_and_not_guessed),
        cmocka_unit_test(what_may_not_be_looked_at_is_told_all_the_same),
        cmocka_unit_test(the_edge_is_told_how_much_waits_and_how_fast_it_goes),
        cmocka_unit_test(it_is_told_twice_a_second_and_measured_anew_each_time),
        cmocka_unit_test(what_redis_counted_in_another_life_is_not_relied_on),
        cmocka_unit_test(what_cannot_be_measured_is_not_told),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

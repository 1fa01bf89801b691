// The loader's core driven by hand: each test answers its actions as Redis and Postgres would, and
// looks at what it wants next.
#include "daemon/load/core.hpp"

#include "driver.hpp"

namespace sluice::test {
namespace {

void stores_a_batch_and_acknowledges_it_after_the_commit(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {3, 1, 2});
    const PgAction ledger = driver.pg_until(PgStep::kInsertLedger);
    assert_int_equal(ledger.batch->frames().size(), 3);
    assert_int_equal(ledger.batch->frames()[0].first_row_id, 1);
    assert_int_equal(ledger.batch->frames()[2].first_row_id, 5);
    const PgAction commit = driver.pg_until(PgStep::kCommit);
    assert_int_not_equal(driver.core().next_redis(driver.now_).step, RedisStep::kAck);
    driver.answer(commit, {});
    const RedisAction ack = driver.redis_until(RedisStep::kAck);
    assert_ids(ack.ids, {1, 2, 3});
    driver.answer(ack, {});
    assert_int_equal(driver.core().counts().rows_stored, 6);
    const RedisAction trim = driver.redis_until(RedisStep::kTrim);
    assert_true(trim.from == (StreamId{1, 101}));
}

void a_frame_twice_in_a_batch_is_stored_once_and_acknowledged_twice(void**) {
    Driver driver;
    const RedisAction action = driver.redis_until(RedisStep::kReadNew);
    auto owner = std::make_unique<OwnedRows>();
    RedisResult result;
    result.entries.push_back(make_entry(owner.get(), {1, 1}, 7, 2));
    result.entries.push_back(make_entry(owner.get(), {1, 2}, 7, 2));
    result.bytes = std::move(owner);
    driver.answer(action, std::move(result));
    assert_int_equal(driver.pg_until(PgStep::kInsertLedger).batch->frames().size(), 1);
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2});
    assert_int_equal(driver.core().counts().rows_stored, 2);
    assert_int_equal(driver.core().counts().frames_duplicate, 1);
}

void frames_that_were_too_long_on_their_way_are_counted_once(void**) {
    Driver driver;
    const auto read = [&driver](RedisStep step) {
        const RedisAction action = driver.redis_until(step);
        auto owner = std::make_unique<OwnedRows>();
        RedisResult result;
        for (uint32_t i = 0; i < 4; ++i) {
            const StreamId id = {static_cast<uint64_t>(kNoonMs + kOnTheWayMsMax + i), 1};
            result.entries.push_back(make_entry(owner.get(), id, i, 2, kNoonMs + 1));
        }
        result.bytes = std::move(owner);
        driver.answer(action, std::move(result));
        driver.commit();
    };
    read(RedisStep::kReadNew);
    assert_int_equal(driver.core().counts().frames_stored, 4);
    assert_int_equal(driver.core().counts().frames_late, 2);
    driver.ledger_knows_all(true);
    read(RedisStep::kReadNew);
    assert_int_equal(driver.core().counts().frames_late, 2);
}

void a_keyed_request_twice_in_a_batch_is_stored_once_whatever_its_time(void**) {
    Driver driver;
    const RedisAction action = driver.redis_until(RedisStep::kReadNew);
    auto owner = std::make_unique<OwnedRows>();
    RedisResult result;
    for (uint64_t i = 1; i <= 3; ++i) {
        Entry entry = make_entry(owner.get(), {1, i}, 7, 2, kNoonMs + static_cast<int64_t>(3 - i));
        entry.frame.producer_id[6] = 0x80;  // a UUID of version 8
        result.entries.push_back(entry);
    }
    result.bytes = std::move(owner);
    driver.answer(action, std::move(result));
    const PgAction insert = driver.pg_until(PgStep::kInsertLedger);
    assert_int_equal(insert.batch->frames().size(), 1);
    assert_int_equal(insert.batch->frames()[0].frame.receive_time_ms, kNoonMs);
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2, 3});
    assert_int_equal(driver.core().counts().rows_stored, 2);
}

void frames_of_the_ledger_are_not_copied_but_acknowledged(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2});
    driver.ledger_knows_all(true);
    const PgAction ledger = driver.pg_until(PgStep::kInsertLedger);
    driver.answer(ledger, driver.calm_answer(ledger));
    const PgAction commit = driver.core().next_pg(driver.now_);
    assert_int_equal(commit.step, PgStep::kCommit);
    driver.answer(commit, {});
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2});
    assert_int_equal(driver.core().counts().rows_stored, 0);
}

void only_fresh_frames_of_a_batch_are_copied(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2, 3});
    const PgAction ledger = driver.pg_until(PgStep::kInsertLedger);
    PgReply reply;
    reply.fresh_ids = {ledger.batch->frames()[1].first_row_id};
    driver.answer(ledger, std::move(reply));
    const PgAction copy = driver.core().next_pg(driver.now_);
    assert_int_equal(copy.step, PgStep::kCopy);
    assert_int_equal(copy.batch->fresh_rows().size(), 2);
    assert_false(copy.batch->frames()[0].fresh);
    assert_true(copy.batch->frames()[1].fresh);
}

void an_unknown_commit_is_done_again(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2});
    driver.refuse(driver.pg_until(PgStep::kCommit), PgStatus::kLost);
    assert_false(driver.core().postgres_up(driver.now_));
    driver.ledger_knows_all(true);
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2});
}

// The server behind the next one may never have heard of them, and give them to somebody else.
void row_ids_reserved_before_a_lost_connection_are_given_up(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.refuse(driver.pg_until(PgStep::kCommit), PgStatus::kLost);
    assert_int_equal(driver.pg_until(PgStep::kInsertLedger).batch->frames()[0].first_row_id,
                     kRowIdBlock + 1);
    driver.commit();
    driver.read(RedisStep::kReadNew, {2});
    assert_int_equal(driver.pg_until(PgStep::kInsertLedger).batch->frames()[0].first_row_id,
                     kRowIdBlock + 3);
}

void a_failed_copy_begins_the_transaction_again(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kRetry);
    const PgAction wait = driver.core().next_pg(driver.now_);
    assert_int_equal(wait.step, PgStep::kWait);
    assert_true(wait.wait_us > 0);
    driver.pass(wait.wait_us);
    assert_int_equal(driver.core().next_pg(driver.now_).step, PgStep::kInsertLedger);
}

void a_refused_batch_is_kept_and_tried_seldom(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    for (int i = 0; i < 20; ++i) {
        driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kRefused);
    }
    const int64_t refused_at_us = driver.now_.steady_us;
    driver.pg_until(PgStep::kInsertLedger);
    assert_true(driver.now_.steady_us - refused_at_us >= 30 * kSecondUs);
    assert_int_equal(driver.core().counts().batches_refused, 20);
    assert_int_equal(driver.core().counts().entries_acked, 0);
}

void a_postgres_that_refuses_is_up(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kRefused);
    assert_true(driver.redis_until(RedisStep::kPublish).state.postgres_up);
}

void stopping_does_not_wait_for_a_batch_that_is_refused(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kRefused);
    driver.core().stop();
    assert_int_equal(driver.core().next_pg(driver.now_).step, PgStep::kStop);
    assert_int_equal(driver.core().next_redis(driver.now_).step, RedisStep::kStop);
    assert_int_equal(driver.core().counts().entries_acked, 0);
}

void a_postgres_that_refused_long_ago_is_asked_meanwhile(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    for (int i = 0; i < 10; ++i) {
        driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kRefused);
    }
    const PgAction check = driver.pg_until(PgStep::kCheck);
    driver.answer(check, {});
    assert_true(driver.core().postgres_up(driver.now_));
    driver.refuse(driver.pg_until(PgStep::kCheck), PgStatus::kLost);
    assert_false(driver.core().postgres_up(driver.now_));
}

void a_postgres_that_hangs_is_down_until_it_answers(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    const PgAction ledger = driver.pg_until(PgStep::kInsertLedger);
    driver.pass(4 * kSecondUs);
    assert_true(driver.redis_until(RedisStep::kPublish).state.postgres_up);
    driver.pass(kSecondUs);
    assert_false(driver.redis_until(RedisStep::kPublish).state.postgres_up);
    driver.answer(ledger, driver.calm_answer(ledger));
    assert_true(driver.redis_until(RedisStep::kPublish).state.postgres_up);
}

void after_a_crash_own_entries_come_first(void**) {
    Driver driver;
    const RedisAction own = driver.redis_until(RedisStep::kReadOwn);
    assert_true(own.from == StreamId{});
    driver.read(RedisStep::kReadOwn, {4, 5});
    const RedisAction more = driver.redis_until(RedisStep::kReadOwn);
    assert_true(more.from == (StreamId{1, 5}));
    driver.answer(more, {});
    driver.ledger_knows_all(true);
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {4, 5});
    assert_int_equal(driver.core().counts().frames_duplicate, 2);
}

void a_missing_partition_is_made_again(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1}, 2, kNoonMs - 86400000);
    const PgAction make = driver.pg_until(PgStep::kMakePartitions);
    driver.answer(make, {});
    driver.refuse(driver.pg_until(PgStep::kInsertLedger), PgStatus::kNoPartition);
    const PgAction again = driver.pg_until(PgStep::kMakePartitions);
    assert_int_equal(again.log_days.size(), 1);
    assert_int_equal(again.log_days[0], kNoonMs / 86400000 - 1);
    assert_int_equal(again.ledger_hours[0], kNoonMs / 3600000 - 24);
    driver.answer(again, {});
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1});
}

void partitions_are_made_ahead(void**) {
    Driver driver;
    const PgAction make = driver.pg_until(PgStep::kMakePartitions);
    assert_int_equal(make.log_days.size(), 2);
    assert_int_equal(make.log_days[1], kNoonMs / 86400000 + 1);
    assert_int_equal(make.ledger_hours.size(), 3);
}

void row_ids_of_a_frame_never_span_blocks(void**) {
    LoadLimits limits;
    limits.batch_rows = 10000000;
    limits.batch_bytes = 1024 * 1024 * 1024;
    Driver driver(limits);
    driver.read(RedisStep::kReadNew, {1, 2, 3}, 400000);
    const PgAction ledger = driver.pg_until(PgStep::kInsertLedger);
    assert_int_equal(ledger.batch->frames()[0].first_row_id, 1);
    assert_int_equal(ledger.batch->frames()[1].first_row_id, 400001);
    assert_int_equal(ledger.batch->frames()[2].first_row_id, kRowIdBlock + 1);
    driver.commit();
    driver.read(RedisStep::kReadNew, {4}, 2);
    assert_int_equal(driver.pg_until(PgStep::kInsertLedger).batch->frames()[0].first_row_id,
                     kRowIdBlock + 400001);
}

void a_lost_group_is_made_and_nothing_old_is_acknowledged(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2});
    const PgAction commit = driver.pg_until(PgStep::kCommit);
    driver.refuse(driver.redis_until(RedisStep::kReadNew), RedisStatus::kNoGroup);
    assert_int_equal(driver.core().next_redis(driver.now_).step, RedisStep::kEnsureGroup);
    driver.answer(commit, {});
    const RedisAction next = driver.redis_until(RedisStep::kReadOwn);
    assert_true(next.from == StreamId{});
    assert_int_equal(driver.core().counts().entries_acked, 0);
}

void a_full_redis_is_read_where_the_group_exists(void**) {
    Driver driver;
    driver.refuse(driver.redis_until(RedisStep::kEnsureGroup), RedisStatus::kRefused);
    driver.read(RedisStep::kReadOwn, {1, 2});
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2});
}

void a_full_redis_without_the_group_is_asked_seldom(void**) {
    Driver driver;
    for (int i = 0; i < 20; ++i) {
        driver.refuse(driver.redis_until(RedisStep::kEnsureGroup), RedisStatus::kRefused);
        driver.refuse(driver.redis_until(RedisStep::kReadOwn), RedisStatus::kNoGroup);
    }
    const RedisAction wait = driver.core().next_redis(driver.now_);
    assert_int_equal(wait.step, RedisStep::kWait);
    assert_true(wait.wait_us >= kSecondUs / 2);
}

void a_lost_connection_reads_everything_again(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2});
    driver.refuse(driver.redis_until(RedisStep::kReadNew), RedisStatus::kLost);
    assert_int_equal(driver.core().buffered_bytes(), 0);
    assert_int_equal(driver.core().next_redis(driver.now_).step, RedisStep::kWait);
    driver.read(RedisStep::kReadOwn, {1, 2});
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2});
    assert_int_equal(driver.core().counts().rows_stored, 4);
}

void a_failed_trim_does_not_stop_reading(void**) {
    Driver driver;
    driver.refuse(driver.redis_until(RedisStep::kInspectGroups), RedisStatus::kRefused);
    driver.read(RedisStep::kReadNew, {1});
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1});
}

void a_full_batch_stops_reading_until_postgres_takes_it(void**) {
    LoadLimits limits;
    limits.batch_bytes = 100 * 1024;
    Driver driver(limits);
    driver.read(RedisStep::kReadNew, {1}, 4000);
    const PgAction ledger = driver.pg_until(PgStep::kInsertLedger);  // storing
    driver.read(RedisStep::kReadNew, {2}, 4000);                     // filling, and full
    for (int i = 0; i < 200; ++i) {
        const RedisAction action = driver.core().next_redis(driver.now_);
        assert_true(action.step != RedisStep::kReadNew && action.step != RedisStep::kClaim);
        if (action.step == RedisStep::kWait) {
            driver.pass(action.wait_us);
        } else {
            RedisResult result;
            result.groups = {{"log_workers", {1, 100}}};
            driver.answer(action, std::move(result));
        }
    }
    driver.answer(ledger, driver.calm_answer(ledger));
    driver.commit();
    assert_int_equal(driver.pg_until(PgStep::kInsertLedger).batch->ids().size(), 1);
    driver.redis_until(RedisStep::kReadNew);
}

// Answers the next new read with as many entries as it asks for; how many those were.
uint32_t read_all_that_is_asked_for(Driver* driver, uint32_t records) {
    const RedisAction action = driver->redis_until(RedisStep::kReadNew);
    driver->read(RedisStep::kReadNew, std::vector<uint32_t>(action.count, 1), records);
    return action.count;
}

void a_backlog_of_the_largest_entries_is_read_few_at_a_time(void**) {
    Driver driver;
    driver.read(RedisStep::kReadOwn, {});
    assert_in_range(driver.redis_until(RedisStep::kReadNew).count, 1, 8);
}

void what_is_read_at_most_doubles(void**) {
    LoadLimits limits;
    limits.batch_rows = UINT64_MAX;
    limits.batch_bytes = 1024ULL * 1024 * 1024;
    Driver driver(limits);
    driver.read(RedisStep::kReadOwn, {});
    uint32_t last = 4;
    for (int i = 0; i < 10; ++i) {
        const uint32_t count = read_all_that_is_asked_for(&driver, 1);
        assert_in_range(count, 1, std::min(2 * last, limits.read_count_max));
        last = count;
    }
    assert_int_equal(last, limits.read_count_max);
    // Few entries now tell nothing of the many behind them.
    driver.read(RedisStep::kReadNew, {1});
    assert_in_range(driver.redis_until(RedisStep::kReadNew).count, 1, 8);
}

void reading_blocks_only_when_nothing_is_under_way(void**) {
    Driver driver;
    driver.read(RedisStep::kReadOwn, {});
    assert_true(driver.redis_until(RedisStep::kReadNew).block_ms > 0);
    driver.read(RedisStep::kReadNew, {1});
    assert_int_equal(driver.redis_until(RedisStep::kReadNew).block_ms, 0);
}

void a_claim_skips_what_is_held_already(void**) {
    Driver driver;
    driver.pg_until(PgStep::kWait);
    driver.read(RedisStep::kReadOwn, {1, 2});
    driver.read(RedisStep::kReadOwn, {});
    driver.read(RedisStep::kClaim, {2, 3});
    const PgAction ledger = driver.pg_until(PgStep::kInsertLedger);
    assert_int_equal(ledger.batch->ids().size(), 3);
}

void entries_of_a_newer_version_stay_and_those_that_vanished_are_alarmed(void**) {
    Driver driver;
    const RedisAction read = driver.redis_until(RedisStep::kReadNew);
    auto owner = std::make_unique<OwnedRows>();
    RedisResult result;
    result.entries.push_back(make_entry(owner.get(), {1, 1}, 1, 2));
    Entry newer;
    newer.id = {1, 2};
    newer.error = FrameError::kUnknownVersion;
    result.entries.push_back(newer);
    Entry vanished;
    vanished.id = {1, 9};
    vanished.gone = true;
    result.entries.push_back(vanished);
    result.bytes = std::move(owner);
    driver.answer(read, std::move(result));
    const RedisAction first = driver.redis_until(RedisStep::kAck);
    assert_ids(first.ids, {9});
    driver.answer(first, {});
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1});
    const LoadCounts& counts = driver.core().counts();
    assert_int_equal(counts.entries_unknown_version, 1);
    assert_int_equal(counts.entries_gone, 1);
    assert_int_equal(counts.entries_dead, 0);
}

// Answers the read with one entry that cannot be read, 1-5.
void read_a_newer_entry(Driver* driver, RedisStep step) {
    const RedisAction action = driver->redis_until(step);
    RedisResult result;
    Entry entry;
    entry.id = {1, 5};
    entry.error = FrameError::kUnknownVersion;
    result.entries.push_back(entry);
    driver->answer(action, std::move(result));
}

void answer_first_pending(Driver* driver, const StreamId* first) {
    driver->pass(5 * kSecondUs);  // until the next round of trimming
    const RedisAction action = driver->redis_until(RedisStep::kInspectPending);
    RedisResult result;
    result.has_pending = first != nullptr;
    result.first_pending = first != nullptr ? *first : StreamId{};
    driver->answer(action, std::move(result));
    driver->answer(driver->redis_until(RedisStep::kTrim), {});
}

void an_entry_it_cannot_read_is_counted_once_and_named_while_it_holds_up_trimming(void**) {
    Driver driver;
    driver.pg_until(PgStep::kWait);
    driver.read(RedisStep::kReadOwn, {});
    read_a_newer_entry(&driver, RedisStep::kReadNew);
    driver.pass(LoadLimits{}.claim_interval_us);
    const StreamId before = {1, 3};
    answer_first_pending(&driver, &before);
    read_a_newer_entry(&driver, RedisStep::kClaim);
    assert_int_equal(driver.core().counts().entries_unknown_version, 1);
    assert_null(driver.core().trim_held_by());
    const StreamId newer = {1, 5};
    answer_first_pending(&driver, &newer);
    assert_non_null(driver.core().trim_held_by());
    assert_true(*driver.core().trim_held_by() == newer);
    answer_first_pending(&driver, nullptr);
    assert_null(driver.core().trim_held_by());
}

// The next round of trimming, a minute later, finds the groups there.
void trim_with_groups_at(Driver* driver, const StreamId& other, const StreamId& own) {
    driver->pass(60 * kSecondUs);
    RedisResult result;
    result.groups = {{"other", other}, {"log_workers", own}};
    driver->answer(driver->redis_until(RedisStep::kInspectGroups), std::move(result));
    driver->answer(driver->redis_until(RedisStep::kTrim), {});
}

void a_group_that_is_not_where_this_one_was_a_minute_ago_is_named(void**) {
    LoadLimits limits;
    limits.trim_groups = {"other"};
    Driver driver(limits);
    trim_with_groups_at(&driver, {1, 5}, {1, 9});
    assert_null(driver.core().group_left_behind());
    trim_with_groups_at(&driver, {1, 8}, {1, 20});
    assert_non_null(driver.core().group_left_behind());
    assert_string_equal(driver.core().group_left_behind()->c_str(), "other");
    trim_with_groups_at(&driver, {1, 20}, {1, 30});
    assert_null(driver.core().group_left_behind());
}

void stopping_stores_and_acknowledges_what_was_read(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    const PgAction ledger = driver.pg_until(PgStep::kInsertLedger);
    driver.read(RedisStep::kReadNew, {2});
    driver.core().stop();
    driver.answer(ledger, driver.calm_answer(ledger));
    driver.commit();
    driver.commit();
    const RedisAction ack = driver.redis_until(RedisStep::kAck);
    assert_ids(ack.ids, {1, 2});
    driver.answer(ack, {});
    driver.pg_until(PgStep::kStop);
    assert_int_equal(driver.core().next_redis(driver.now_).step, RedisStep::kStop);
}

void stopping_does_not_wait_for_a_postgres_that_is_away(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.refuse(driver.pg_until(PgStep::kInsertLedger), PgStatus::kLost);
    driver.core().stop();
    assert_int_equal(driver.core().next_pg(driver.now_).step, PgStep::kStop);
    assert_int_equal(driver.core().next_redis(driver.now_).step, RedisStep::kStop);
    assert_int_equal(driver.core().counts().entries_acked, 0);
}

void the_edge_is_told_when_postgres_goes_away(void**) {
    Driver driver;
    driver.pg_until(PgStep::kWait);
    const RedisAction up = driver.redis_until(RedisStep::kPublish);
    assert_true(up.state.postgres_up);
    driver.answer(up, {});
    driver.refuse(driver.pg_until(PgStep::kCheck), PgStatus::kLost);
    assert_false(driver.redis_until(RedisStep::kPublish).state.postgres_up);
}

void the_ledger_is_pruned_behind_everything_that_may_come_back(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.commit();
    const RedisAction oldest = driver.redis_until(RedisStep::kInspectOldest);
    OwnedRows owner;
    RedisResult result;
    const int64_t oldest_ms = kNoonMs - 72LL * 3600 * 1000;
    result.entries.push_back(make_entry(&owner, {1, 1}, 1, 1, oldest_ms));
    driver.answer(oldest, std::move(result));
    const PgAction prune = driver.pg_until(PgStep::kPruneLedger);
    assert_int_equal(prune.ledger_hours.front(), oldest_ms / 3600000 - 1);
    driver.answer(prune, {});
    driver.pass(LoadLimits{}.prune_interval_us);
    driver.answer(driver.redis_until(RedisStep::kInspectOldest), {});
    assert_int_equal(driver.pg_until(PgStep::kPruneLedger).ledger_hours.front(),
                     kNoonMs / 3600000 - 48);
}

void pruning_in_pieces_lets_batches_come_between(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.commit();
    driver.answer(driver.redis_until(RedisStep::kInspectOldest), {});
    const PgAction piece = driver.pg_until(PgStep::kPruneLedger);
    driver.read(RedisStep::kReadNew, {2});
    driver.pass(LoadLimits{}.batch_age_us);
    PgReply reply;
    reply.more = true;
    driver.answer(piece, std::move(reply));
    assert_int_equal(driver.core().next_pg(driver.now_).step, PgStep::kInsertLedger);
    driver.commit();
    const PgAction rest = driver.pg_until(PgStep::kPruneLedger);
    assert_int_equal(rest.ledger_hours.front(), piece.ledger_hours.front());
}

void pruning_gets_its_turn_however_many_batches_there_are(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.commit();
    driver.answer(driver.redis_until(RedisStep::kInspectOldest), {});
    const PgAction piece = driver.pg_until(PgStep::kPruneLedger);
    driver.pass(kSecondUs / 10);
    PgReply reply;
    reply.more = true;
    driver.answer(piece, std::move(reply));
    // Five batches of 100 ms each, the next one always due: the rest comes behind the fourth.
    uint32_t batches = 0;
    for (; batches < 5; ++batches) {
        driver.read(RedisStep::kReadNew, {2 + batches});
        driver.pass(kSecondUs / 10);
        if (driver.core().next_pg(driver.now_).step == PgStep::kPruneLedger) {
            break;
        }
        driver.commit();
    }
    assert_in_range(batches, 3, 4);
}

void pruning_that_fails_holds_up_nothing(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.commit();
    driver.answer(driver.redis_until(RedisStep::kInspectOldest), {});
    const PgAction prune = driver.pg_until(PgStep::kPruneLedger);
    driver.read(RedisStep::kReadNew, {2});
    driver.pass(LoadLimits{}.batch_age_us);
    for (const PgStatus status : {PgStatus::kRetry, PgStatus::kRefused}) {
        driver.refuse(prune, status);
        assert_true(driver.core().postgres_up(driver.now_));
        assert_int_equal(driver.core().next_pg(driver.now_).step, PgStep::kInsertLedger);
    }
}

void the_ledger_is_not_pruned_by_a_clock_that_is_ahead(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.commit();
    driver.now_.wall_ms += 1000LL * 24 * 3600 * 1000;
    driver.answer(driver.redis_until(RedisStep::kInspectOldest), {});
    assert_int_equal(driver.pg_until(PgStep::kPruneLedger).ledger_hours.front(),
                     kNoonMs / 3600000 - 48);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(stores_a_batch_and_acknowledges_it_after_the_commit),
        cmocka_unit_test(a_frame_twice_in_a_batch_is_stored_once_and_acknowledged_twice),
        cmocka_unit_test(frames_that_were_too_long_on_their_way_are_counted_once),
        cmocka_unit_test(a_keyed_request_twice_in_a_batch_is_stored_once_whatever_its_time),
        cmocka_unit_test(frames_of_the_ledger_are_not_copied_but_acknowledged),
        cmocka_unit_test(only_fresh_frames_of_a_batch_are_copied),
        cmocka_unit_test(an_unknown_commit_is_done_again),
        cmocka_unit_test(row_ids_reserved_before_a_lost_connection_are_given_up),
        cmocka_unit_test(a_failed_copy_begins_the_transaction_again),
        cmocka_unit_test(a_refused_batch_is_kept_and_tried_seldom),
        cmocka_unit_test(a_postgres_that_refuses_is_up),
        cmocka_unit_test(stopping_does_not_wait_for_a_batch_that_is_refused),
        cmocka_unit_test(a_postgres_that_refused_long_ago_is_asked_meanwhile),
        cmocka_unit_test(a_postgres_that_hangs_is_down_until_it_answers),
        cmocka_unit_test(after_a_crash_own_entries_come_first),
        cmocka_unit_test(a_missing_partition_is_made_again),
        cmocka_unit_test(partitions_are_made_ahead),
        cmocka_unit_test(row_ids_of_a_frame_never_span_blocks),
        cmocka_unit_test(a_lost_group_is_made_and_nothing_old_is_acknowledged),
        cmocka_unit_test(a_full_redis_is_read_where_the_group_exists),
        cmocka_unit_test(a_full_redis_without_the_group_is_asked_seldom),
        cmocka_unit_test(a_lost_connection_reads_everything_again),
        cmocka_unit_test(a_failed_trim_does_not_stop_reading),
        cmocka_unit_test(a_full_batch_stops_reading_until_postgres_takes_it),
        cmocka_unit_test(a_backlog_of_the_largest_entries_is_read_few_at_a_time),
        cmocka_unit_test(what_is_read_at_most_doubles),
        cmocka_unit_test(reading_blocks_only_when_nothing_is_under_way),
        cmocka_unit_test(a_claim_skips_what_is_held_already),
        cmocka_unit_test(entries_of_a_newer_version_stay_and_those_that_vanished_are_alarmed),
        cmocka_unit_test(
            an_entry_it_cannot_read_is_counted_once_and_named_while_it_holds_up_trimming),
        cmocka_unit_test(a_group_that_is_not_where_this_one_was_a_minute_ago_is_named),
        cmocka_unit_test(stopping_stores_and_acknowledges_what_was_read),
        cmocka_unit_test(stopping_does_not_wait_for_a_postgres_that_is_away),
        cmocka_unit_test(the_ledger_is_pruned_behind_everything_that_may_come_back),
        cmocka_unit_test(pruning_in_pieces_lets_batches_come_between),
        cmocka_unit_test(pruning_gets_its_turn_however_many_batches_there_are),
        cmocka_unit_test(pruning_that_fails_holds_up_nothing),
        cmocka_unit_test(the_ledger_is_not_pruned_by_a_clock_that_is_ahead),
        cmocka_unit_test(the_edge_is_told_when_postgres_goes_away),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// Batches follow what Postgres stores in good time.
#include "driver.hpp"

namespace sluice::test {
namespace {

constexpr uint64_t kFrameRows = 12000;  // some 300 KB
constexpr uint32_t kFramesAtMost = 40;

// Reads frames until a batch is full, and stores it, which takes so long. Returns its bytes.
uint64_t store_full_batch(Driver* driver, int64_t took_us) {
    uint32_t number = 0;
    while (driver->core().next_pg(driver->now_).step != PgStep::kInsertLedger) {
        assert_true(++number < kFramesAtMost);
        driver->read(RedisStep::kReadNew, {number}, kFrameRows);
        // Ahead of the first batch stand connecting, partitions and row ids.
        for (PgAction action = driver->core().next_pg(driver->now_);
             action.step == PgStep::kConnect || action.step == PgStep::kMakePartitions ||
             action.step == PgStep::kReserveIds || action.step == PgStep::kCheck;
             action = driver->core().next_pg(driver->now_)) {
            driver->answer(action, driver->calm_answer(action));
        }
    }
    const PgAction commit = driver->pg_until(PgStep::kCommit);
    const uint64_t bytes = commit.batch->bytes();
    driver->pass(took_us);
    driver->answer(commit, {});
    return bytes;
}

LoadLimits patient() {
    LoadLimits limits;
    limits.batch_rows = 1000000;
    limits.batch_age_us = 3600 * kSecondUs;
    return limits;
}

void a_slow_postgres_gets_smaller_batches_and_larger_ones_again(void**) {
    Driver driver(patient());
    const uint64_t full = store_full_batch(&driver, kSecondUs / 10);
    assert_true(full > 6 * 1024 * 1024 && full <= 8 * 1024 * 1024);
    store_full_batch(&driver, kSecondUs);
    const uint64_t halved = store_full_batch(&driver, kSecondUs);
    assert_true(halved <= full / 2);
    assert_true(store_full_batch(&driver, kSecondUs / 10) <= halved / 2);
    uint64_t grown = 0;
    for (int i = 0; i < 20; ++i) {
        grown = store_full_batch(&driver, kSecondUs / 10);
    }
    assert_true(grown > 6 * 1024 * 1024 && grown <= 8 * 1024 * 1024);
}

void a_change_of_its_limits_is_taken_at_once(void**) {
    Driver driver(patient());
    LoadLimits limits = patient();
    limits.batch_bytes = 2 * 1024 * 1024;
    driver.core().set_limits(limits);
    const uint64_t small = store_full_batch(&driver, kSecondUs / 10);
    assert_true(small > 1024 * 1024 && small <= limits.batch_bytes);
    limits.batch_bytes = 4 * 1024 * 1024;
    driver.core().set_limits(limits);
    assert_true(store_full_batch(&driver, kSecondUs) > 3 * 1024 * 1024);
    // But a Postgres that is slow is not given more than before.
    limits.batch_bytes = 8 * 1024 * 1024;
    driver.core().set_limits(limits);
    assert_true(store_full_batch(&driver, kSecondUs / 10) <= 2 * 1024 * 1024);
    limits.batch_age_us = kSecondUs;
    driver.core().set_limits(limits);
    driver.read(RedisStep::kReadNew, {1});
    assert_int_equal(driver.pg_until(PgStep::kCopy).rows.count, 2);
    // The groups stay: without them nothing would be trimmed, or all of it.
    assert_int_equal(driver.redis_until(RedisStep::kInspectPending).group.size(),
                     std::string("log_workers").size());
}

void a_batch_never_becomes_so_small_that_nothing_is_read(void**) {
    Driver driver(patient());
    for (int i = 0; i < 30; ++i) {
        assert_true(store_full_batch(&driver, 10 * kSecondUs) > 0);
    }
}

// The good rows beside a bad one are no fewer than all of them.
void rows_that_took_too_long_are_copied_in_parts_when_some_are_bad(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2, 3}, 4000);
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kRetry);
    PgReply refused;
    refused.status = PgStatus::kBadData;
    refused.named_line = 1;
    driver.answer(driver.pg_until(PgStep::kCopy), refused);
    const PgAction named = driver.pg_until(PgStep::kCopy);
    assert_int_equal(named.rows.count, 1);
    driver.answer(named, refused);
    uint64_t next = 1;
    while (next < 12000) {
        const PgAction copy = driver.pg_until(PgStep::kCopy);
        assert_true(copy.careful);
        assert_int_equal(copy.rows.first, next);
        assert_true(copy.rows.count <= 6000);
        next += copy.rows.count;
        driver.answer(copy, driver.calm_answer(copy));
    }
    driver.commit();
    assert_int_equal(driver.core().counts().rows_stored, 11999);
    assert_int_equal(driver.core().counts().rows_dead, 1);
}

// A statement has a deadline: the same rows in one COPY would never meet it.
void rows_that_took_too_long_are_copied_in_parts(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2, 3}, 4000);
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kRetry);
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kLost);
    uint64_t next = 0;
    for (uint64_t part = 0; part < 4; ++part) {
        const PgAction copy = driver.pg_until(PgStep::kCopy);
        assert_false(copy.careful);
        assert_int_equal(copy.rows.first, next);
        assert_int_equal(copy.rows.count, 3000);
        next += copy.rows.count;
        driver.answer(copy, driver.calm_answer(copy));
    }
    const PgAction count = driver.pg_until(PgStep::kCount);
    assert_int_equal(count.counts.size(), 1);
    assert_int_equal(count.counts[0].n, 12000);
    driver.commit();
    assert_int_equal(driver.core().counts().rows_stored, 12000);
    driver.read(RedisStep::kReadNew, {4}, 4000);
    assert_int_equal(driver.pg_until(PgStep::kCopy).rows.count, 4000);
}

void a_part_with_a_bad_row_is_searched_like_a_whole(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1}, 4000);
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kRetry);
    PgAction copy = driver.pg_until(PgStep::kCopy);
    driver.answer(copy, driver.calm_answer(copy));
    copy = driver.pg_until(PgStep::kCopy);
    assert_int_equal(copy.rows.first, 2000);
    PgReply bad;
    bad.status = PgStatus::kBadData;
    bad.named_line = 11;
    driver.answer(copy, std::move(bad));
    copy = driver.pg_until(PgStep::kCopy);
    assert_true(copy.careful);
    assert_int_equal(copy.rows.first, 2010);
    assert_int_equal(copy.rows.count, 1);
}

void a_read_that_took_too_long_is_tried_with_fewer(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1, 2, 3, 4, 5, 6, 7, 8});
    driver.commit();
    RedisAction read = driver.redis_until(RedisStep::kReadNew);
    uint32_t count = read.count;
    assert_true(count >= 8);
    while (count > 1) {
        driver.refuse(read, RedisStatus::kLost);
        read = driver.redis_until(RedisStep::kReadOwn);
        assert_int_equal(read.count, count / 2);
        count = read.count;
    }
    driver.refuse(read, RedisStatus::kLost);
    assert_int_equal(driver.redis_until(RedisStep::kReadOwn).count, 1);
}

void partitions_ahead_that_cannot_be_made_hold_nothing_up(void**) {
    for (const PgStatus status : {PgStatus::kRetry, PgStatus::kRefused}) {
        Driver driver;
        const PgAction ahead = driver.pg_until(PgStep::kMakePartitions);
        assert_null(ahead.batch);
        const int64_t asked_at_us = driver.now_.steady_us;
        driver.refuse(ahead, status);
        driver.read(RedisStep::kReadNew, {1});
        driver.commit();
        assert_true(driver.now_.steady_us - asked_at_us < kSecondUs / 2);
        assert_true(driver.core().postgres_up(driver.now_));
    }
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_postgres_gets_smaller_batches_and_larger_ones_again),
        cmocka_unit_test(a_change_of_its_limits_is_taken_at_once),
        cmocka_unit_test(a_batch_never_becomes_so_small_that_nothing_is_read),
        cmocka_unit_test(rows_that_took_too_long_are_copied_in_parts_when_some_are_bad),
        cmocka_unit_test(rows_that_took_too_long_are_copied_in_parts),
        cmocka_unit_test(a_part_with_a_bad_row_is_searched_like_a_whole),
        cmocka_unit_test(a_read_that_took_too_long_is_tried_with_fewer),
        cmocka_unit_test(partitions_ahead_that_cannot_be_made_hold_nothing_up),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

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

void a_batch_never_becomes_so_small_that_nothing_is_read(void**) {
    Driver driver(patient());
    for (int i = 0; i < 30; ++i) {
        assert_true(store_full_batch(&driver, 10 * kSecondUs) > 0);
    }
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_postgres_gets_smaller_batches_and_larger_ones_again),
        cmocka_unit_test(a_batch_never_becomes_so_small_that_nothing_is_read),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// Redis comes back without its last writes, or its group was set back: ids may be issued again.
#include "driver.hpp"

namespace sluice::test {
namespace {

RedisResult group_at(const StreamId& last_delivered) {
    RedisResult result;
    result.groups = {{"log_workers", last_delivered}};
    return result;
}

void a_group_behind_what_was_read_makes_everything_be_read_again(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {7, 8});
    driver.answer(driver.redis_until(RedisStep::kInspectGroups), group_at({1, 5}));
    assert_int_equal(driver.core().counts().state_losses, 1);
    assert_int_equal(driver.core().buffered_bytes(), 0);
    const RedisAction own = driver.redis_until(RedisStep::kReadOwn);
    assert_int_equal(own.from.ms, 0);
    assert_int_equal(own.from.seq, 0);
}

// Another entry may have this id by now, which nobody has stored.
void what_is_being_stored_then_is_not_acknowledged(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {7, 8});
    const PgAction commit = driver.pg_until(PgStep::kCommit);
    driver.answer(driver.redis_until(RedisStep::kInspectGroups), group_at({1, 5}));
    driver.answer(commit, {});
    for (int i = 0; i < 20; ++i) {
        const RedisAction action = driver.core().next_redis(driver.now_);
        assert_int_not_equal(action.step, RedisStep::kAck);
        driver.answer(action,
                      action.step == RedisStep::kInspectGroups ? group_at({1, 5}) : RedisResult());
        driver.pass(std::max<int64_t>(action.wait_us, 1));
    }
}

void a_loss_is_noticed_once_and_before_anything_new_is_read(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {7, 8});
    driver.refuse(driver.redis_until(RedisStep::kReadNew), RedisStatus::kLost);
    driver.redis_until(RedisStep::kConnect);
    driver.answer(driver.core().next_redis(driver.now_), {});
    driver.answer(driver.redis_until(RedisStep::kEnsureGroup), {});
    const RedisAction groups = driver.core().next_redis(driver.now_);
    assert_int_equal(groups.step, RedisStep::kInspectGroups);
    driver.answer(groups, group_at({1, 5}));
    assert_int_equal(driver.core().counts().state_losses, 1);
    driver.answer(driver.redis_until(RedisStep::kInspectGroups), group_at({1, 5}));
    driver.answer(driver.redis_until(RedisStep::kInspectGroups), group_at({1, 5}));
    assert_int_equal(driver.core().counts().state_losses, 1);
}

void a_group_that_is_where_it_was_is_no_loss(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {7, 8});
    driver.answer(driver.redis_until(RedisStep::kInspectGroups), group_at({1, 8}));
    assert_int_equal(driver.core().counts().state_losses, 0);
    assert_int_not_equal(driver.core().buffered_bytes(), 0);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_group_behind_what_was_read_makes_everything_be_read_again),
        cmocka_unit_test(what_is_being_stored_then_is_not_acknowledged),
        cmocka_unit_test(a_loss_is_noticed_once_and_before_anything_new_is_read),
        cmocka_unit_test(a_group_that_is_where_it_was_is_no_loss),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

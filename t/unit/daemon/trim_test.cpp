// How far the stream may be trimmed, for every state a group can be in.
#include "daemon/load/trim.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

RedisResult groups(std::vector<GroupPosition> positions) {
    RedisResult result;
    result.groups = std::move(positions);
    return result;
}

RedisResult pending(StreamId first) {
    RedisResult result;
    result.has_pending = true;
    result.first_pending = first;
    return result;
}

RedisResult trimmed(uint64_t entries) {
    RedisResult result;
    result.trimmed = entries;
    return result;
}

void answer(TrimRound* round, const RedisResult& result) {
    round->done(round->next(), result);
}

void trims_below_the_slowest_of_all_groups(void**) {
    TrimRound round({"slow", "fast"});
    round.start();
    answer(&round, groups({{"fast", {9, 9}}, {"stranger", {0, 0}}, {"slow", {5, 0}}}));
    assert_string_equal(round.next().group.c_str(), "slow");
    answer(&round, {});
    assert_string_equal(round.next().group.c_str(), "fast");
    answer(&round, pending({7, 0}));
    assert_int_equal(round.next().step, RedisStep::kTrim);
    assert_true(round.next().from == (StreamId{5, 1}));
}

void trims_below_the_first_pending_entry(void**) {
    TrimRound round({"one"});
    round.start();
    answer(&round, groups({{"one", {9, 0}}}));
    answer(&round, pending({4, 2}));
    assert_true(round.next().from == (StreamId{4, 2}));
}

void tells_who_came_the_least_far(void**) {
    TrimRound round({"other", "another", "own"});
    round.start();
    answer(&round, groups({{"own", {9, 0}}, {"another", {5, 0}}, {"other", {7, 0}}}));
    answer(&round, pending({3, 0}));
    answer(&round, pending({4, 0}));
    answer(&round, pending({8, 0}));
    assert_string_equal(round.slowest().c_str(), "other");
    assert_true(round.bound() == (StreamId{3, 0}));
    assert_true(round.own_bound() == (StreamId{8, 0}));
}

void goes_on_until_nothing_more_is_freed(void**) {
    TrimRound round({"one"});
    round.start();
    answer(&round, groups({{"one", {9, 0}}}));
    answer(&round, {});
    answer(&round, trimmed(10000));
    assert_int_equal(round.next().step, RedisStep::kTrim);
    answer(&round, trimmed(3));
    answer(&round, trimmed(0));
    assert_false(round.running());
}

void does_not_trim_when_a_group_is_missing(void**) {
    TrimRound round({"one", "two"});
    round.start();
    answer(&round, groups({{"one", {9, 0}}}));
    assert_false(round.running());
    assert_true(round.group_missing());
}

void gives_up_on_a_failure(void**) {
    TrimRound round({"one"});
    round.start();
    RedisResult refused;
    refused.status = RedisStatus::kRefused;
    answer(&round, refused);
    assert_false(round.running());
}

void the_id_behind_the_last_of_a_millisecond_is_in_the_next(void**) {
    assert_true((StreamId{1, UINT64_MAX}.next() == StreamId{2, 0}));
    assert_true(kStreamIdMax.next() == kStreamIdMax);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(trims_below_the_slowest_of_all_groups),
        cmocka_unit_test(trims_below_the_first_pending_entry),
        cmocka_unit_test(tells_who_came_the_least_far),
        cmocka_unit_test(goes_on_until_nothing_more_is_freed),
        cmocka_unit_test(does_not_trim_when_a_group_is_missing),
        cmocka_unit_test(gives_up_on_a_failure),
        cmocka_unit_test(the_id_behind_the_last_of_a_millisecond_is_in_the_next),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

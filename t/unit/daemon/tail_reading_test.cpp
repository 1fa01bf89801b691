// Whether the tail notices what it missed of the stream, and why.
#include "daemon/serve/tail_reading.hpp"

#include <initializer_list>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

std::vector<Entry> entries(std::initializer_list<uint64_t> ids) {
    std::vector<Entry> made;
    for (const uint64_t id : ids) {
        made.emplace_back().id = {id, 0};
    }
    return made;
}

StreamEnds ends(uint64_t first, uint64_t last, uint64_t added, uint64_t length) {
    return {{first, 0}, {last, 0}, added, length};
}

// One that has come to entry 10, the tenth; the five newest are there.
TailReading at_ten() {
    TailReading reading;
    reading.begin(ends(6, 10, 10, 5));
    return reading;
}

void a_reading_that_misses_nothing_says_nothing(void**) {
    TailReading reading = at_ten();
    assert_true(reading.went_on(entries({11, 12}), ends(6, 12, 12, 7)) == TailLoss::kNone);
    // More came, or was trimmed, while it asked.
    assert_true(reading.went_on(entries({13}), ends(6, 20, 20, 15)) == TailLoss::kNone);
    assert_true(reading.went_on(entries({14, 15, 16}), ends(15, 20, 20, 6)) == TailLoss::kNone);
    assert_true(reading.went_on(entries({17, 18}), ends(20, 20, 20, 1)) == TailLoss::kNone);
    assert_true(reading.went_on(entries({19, 20}), ends(0, 20, 20, 0)) == TailLoss::kNone);
    assert_true(reading.looked(ends(0, 20, 20, 0)) == TailLoss::kNone);
    assert_true(reading.looked(ends(21, 21, 21, 1)) == TailLoss::kNone);
    assert_true(reading.to() == (StreamId{20, 0}));
}

void what_was_trimmed_unread_is_missed(void**) {
    TailReading reading = at_ten();
    assert_true(reading.went_on(entries({13}), ends(13, 13, 13, 1)) == TailLoss::kWindowPassed);
    assert_true(reading.went_on(entries({14}), ends(14, 14, 14, 1)) == TailLoss::kNone);
    // Not caught up.
    assert_true(reading.went_on(entries({16, 17}), ends(17, 30, 30, 14)) ==
                TailLoss::kWindowPassed);
    assert_true(reading.went_on(entries({18}), ends(17, 30, 30, 14)) == TailLoss::kNone);
    // All of it was trimmed meanwhile, and more: the next piece tells.
    assert_true(reading.went_on(entries({19}), ends(0, 35, 35, 0)) == TailLoss::kNone);
    assert_true(reading.went_on(entries({36}), ends(36, 36, 36, 1)) == TailLoss::kWindowPassed);
    assert_true(reading.went_on(entries({37}), ends(0, 37, 37, 0)) == TailLoss::kNone);
}

void what_redis_lost_is_told(void**) {
    // Anew, with later ids, or with some of the same stream's entries.
    TailReading reading = at_ten();
    assert_true(reading.went_on(entries({11}), ends(11, 11, 1, 1)) == TailLoss::kStateLost);
    assert_true(reading.went_on(entries({12}), ends(11, 12, 2, 2)) == TailLoss::kNone);
    reading = at_ten();
    assert_true(reading.went_on(entries({11}), ends(6, 11, 9, 4)) == TailLoss::kStateLost);
    // With earlier ids, with no stream at all, or with as many.
    reading = at_ten();
    assert_true(reading.looked(ends(6, 8, 8, 3)) == TailLoss::kStateLost);
    assert_true(reading.to() == (StreamId{8, 0}));
    assert_true(reading.went_on(entries({9}), ends(6, 9, 9, 4)) == TailLoss::kNone);
    reading = at_ten();
    assert_true(reading.looked(StreamEnds()) == TailLoss::kStateLost);
    assert_true(reading.looked(StreamEnds()) == TailLoss::kNone);
    reading = at_ten();
    assert_true(reading.looked(ends(10, 10, 1, 1)) == TailLoss::kStateLost);
}

void an_entry_is_gone_for_a_reason(void**) {
    TailReading reading = at_ten();
    assert_true(reading.why_gone({5, 0}, ends(6, 10, 10, 5)) == TailLoss::kWindowPassed);
    assert_true(reading.why_gone({7, 5}, ends(6, 10, 10, 5)) == TailLoss::kStateLost);
    assert_true(reading.why_gone({5, 0}, ends(6, 10, 5, 5)) == TailLoss::kStateLost);
    assert_true(reading.why_gone({10, 0}, ends(0, 10, 10, 0)) == TailLoss::kWindowPassed);
    // What was there before is known to be lost.
    assert_true(reading.went_on(entries({14}), ends(14, 14, 4, 1)) == TailLoss::kStateLost);
    assert_true(reading.why_gone({10, 0}, ends(14, 14, 4, 1)) == TailLoss::kStateLost);
    assert_true(reading.why_gone({11, 0}, ends(14, 14, 4, 1)) == TailLoss::kWindowPassed);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_reading_that_misses_nothing_says_nothing),
        cmocka_unit_test(what_was_trimmed_unread_is_missed),
        cmocka_unit_test(what_redis_lost_is_told),
        cmocka_unit_test(an_entry_is_gone_for_a_reason),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

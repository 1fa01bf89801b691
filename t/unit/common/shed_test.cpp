// Which share of each level is shed: examples, and what must hold for any watermarks.
#include "common/shed.hpp"

#include <algorithm>
#include <random>
#include <set>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

constexpr Level kLevels[] = {Level::kDebug, Level::kInfo, Level::kWarning, Level::kError,
                             Level::kCritical};

uint32_t percent(ShedState state, Level level) {
    return (state.share(level) * 100 + ShedState::kShareWhole / 2) / ShedState::kShareWhole;
}

void pressure_is_a_part_of_what_there_is(void**) {
    assert_int_equal(pressure_of(0, 100), 0);
    for (uint32_t part = 0; part <= 1000; ++part) {
        assert_int_equal(pressure_of(part, 1000), part * 10);
    }
    assert_int_equal(pressure_of(100, 100), kPressureWhole);
    assert_int_equal(pressure_of(300, 100), 3 * kPressureWhole);
    assert_int_equal(pressure_of(UINT64_MAX, 1), 100 * kPressureWhole);
    assert_int_equal(pressure_of(UINT64_MAX / 2, UINT64_MAX), kPressureWhole / 2);
    assert_int_equal(pressure_of(7, 0), 0);
}

void each_level_is_shed_between_its_watermark_and_the_next(void**) {
    const ShedMarks marks;
    const ShedState none;
    assert_int_equal(none.next(marks, 0).word(), 0);
    assert_int_equal(none.next(marks, 5999).word(), 0);
    // Of 1000 parts, 300 are the hysteresis.
    assert_int_equal(percent(none.next(marks, 6000), Level::kDebug), 30);
    assert_int_equal(percent(none.next(marks, 6350), Level::kDebug), 65);
    assert_int_equal(percent(none.next(marks, 6700), Level::kDebug), 100);
    const ShedState two = none.next(marks, 7100);
    assert_int_equal(two.active(), 2);
    assert_int_equal(percent(two, Level::kDebug), 100);
    assert_int_equal(percent(two, Level::kInfo), 40);
    assert_int_equal(percent(two, Level::kWarning), 0);
    const ShedState four = none.next(marks, 9499);
    assert_int_equal(four.active(), 4);
    assert_int_equal(percent(four, Level::kError), 100);
    assert_int_equal(percent(none.next(marks, 9000), Level::kError), 71);
    assert_int_equal(percent(four, Level::kCritical), 0);
    assert_false(four.sheds_all());
    const ShedState all = none.next(marks, 9500);
    assert_true(all.sheds_all());
    for (const Level level : kLevels) {
        assert_int_equal(all.share(level), ShedState::kShareWhole);
    }
}

void a_level_is_shed_until_the_pressure_is_well_below_its_watermark(void**) {
    const ShedMarks marks;
    const ShedState all = ShedState().next(marks, 9600);
    assert_true(all.next(marks, 9200).sheds_all());
    assert_int_equal(all.next(marks, 9199).active(), 4);
    const ShedState one = ShedState().next(marks, 6000);
    assert_int_equal(percent(one.next(marks, 5850), Level::kDebug), 15);
    assert_int_equal(one.next(marks, 5700).active(), 1);
    assert_int_equal(one.next(marks, 5699).word(), 0);
    assert_int_equal(one.next(marks, 5699).next(marks, 5999).word(), 0);
}

void without_hysteresis_the_ramp_begins_at_the_watermark(void**) {
    const ShedMarks marks = {{1000, 2000, 3000, 4000, 5000}, 0};
    assert_int_equal(ShedState().next(marks, 1000).share(Level::kDebug), 0);
    assert_int_equal(ShedState().next(marks, 1000).active(), 1);
    assert_int_equal(percent(ShedState().next(marks, 1500), Level::kDebug), 50);
    assert_int_equal(percent(ShedState().next(marks, 3250), Level::kWarning), 25);
}

void a_share_is_what_random_numbers_make_of_it(void**) {
    const ShedState state = ShedState().next(ShedMarks(), 6350);
    std::mt19937 random(1);
    int shed = 0;
    for (int i = 0; i < 100000; ++i) {
        const auto drawn = static_cast<uint32_t>(random());
        shed += state.sheds(Level::kDebug, drawn);
        assert_false(state.sheds(Level::kInfo, drawn));
        assert_true(ShedState().next(ShedMarks(), 9500).sheds(Level::kCritical, drawn));
    }
    assert_in_range(shed, 64000, 66000);
}

ShedMarks any_marks(std::mt19937* random) {
    std::set<uint32_t> drawn;
    while (drawn.size() < kLevelCount) {
        drawn.insert((1 + (*random)() % 100) * 100);
    }
    ShedMarks marks;
    std::copy(drawn.begin(), drawn.end(), marks.level);
    marks.hysteresis = (*random)() % marks.level[0];
    return marks;
}

// Up or down, by little or by much.
uint32_t next_pressure(std::mt19937* random, uint32_t pressure) {
    const uint32_t drawn = (*random)();
    if (drawn % 8 == 0) {
        return (*random)() % 12000;
    }
    const uint32_t step = (*random)() % 400;
    return drawn % 2 == 0 ? pressure + step : pressure - std::min(pressure, step);
}

void lower_levels_go_first_whatever_has_been(void**) {
    std::mt19937 random(2);
    for (int walk = 0; walk < 2000; ++walk) {
        const ShedMarks marks = any_marks(&random);
        ShedState state;
        uint32_t pressure = 0;
        for (int step = 0; step < 100; ++step) {
            pressure = next_pressure(&random, pressure);
            const ShedState before = state;
            state = state.next(marks, pressure);
            for (unsigned i = 0; i < kLevelCount; ++i) {
                const uint32_t share = state.share(kLevels[i]);
                assert_true(i == 0 || share <= state.share(kLevels[i - 1]));
                // Never before its watermark, and not below what holds it.
                assert_true(i < state.active() || share == 0);
                if (i >= before.active()) {
                    assert_true((pressure >= marks.level[i]) == (i < state.active()));
                } else {
                    assert_true((pressure + marks.hysteresis >= marks.level[i]) ==
                                (i < state.active()));
                }
                // Past the watermark of a level nothing below it is left.
                assert_true(pressure < marks.level[i] || i == 0 ||
                            state.share(kLevels[i - 1]) == ShedState::kShareWhole);
            }
            assert_true(state.sheds_all() == (state.share(Level::kCritical) != 0));
            assert_int_equal(state.next(marks, pressure).word(), state.word());
        }
    }
}

void more_pressure_never_sheds_less(void**) {
    std::mt19937 random(3);
    for (int walk = 0; walk < 300; ++walk) {
        const ShedMarks marks = any_marks(&random);
        const ShedState before = ShedState().next(marks, random() % 12000);
        ShedState lower = before.next(marks, 0);
        for (uint32_t pressure = 0; pressure < 12000; pressure += 7) {
            const ShedState state = before.next(marks, pressure);
            for (const Level level : kLevels) {
                assert_true(state.share(level) >= lower.share(level));
            }
            lower = state;
        }
    }
}

void within_the_hysteresis_nothing_begins_or_ends(void**) {
    std::mt19937 random(4);
    for (int walk = 0; walk < 2000; ++walk) {
        const ShedMarks marks = any_marks(&random);
        const unsigned level = random() % kLevelCount;
        const uint32_t mark = marks.level[level];
        ShedState state = ShedState().next(marks, random() % 2 ? mark : mark - 1);
        const bool sheds = state.active() > level;
        for (int step = 0; step < 50; ++step) {
            const uint32_t below = marks.hysteresis == 0 ? 0 : random() % marks.hysteresis;
            state = state.next(marks, sheds ? mark - below : mark - 1 - below);
            assert_true(sheds == (state.active() > level));
        }
    }
}

void who_is_refused_is_told_when_the_pressure_may_be_gone(void**) {
    const ShedMarks marks;
    std::mt19937 random(5);
    for (int i = 0; i < 1000; ++i) {
        const auto drawn = static_cast<uint32_t>(random());
        const auto after = [&](Level level, uint32_t pressure, uint64_t drain) {
            return shed_retry_after(marks, level, pressure, 1000000, drain, drawn);
        };
        // 10 % above the watermark, and 3 % of hysteresis: 130,000.
        assert_in_range(after(Level::kDebug, 7000, 13000), 8, 12);
        // The higher level comes back sooner.
        assert_in_range(after(Level::kInfo, 7000, 13000), 2, 3);
        assert_int_equal(after(Level::kInfo, 7000, 1000000), 1);
        assert_in_range(after(Level::kDebug, 7000, 1), 48, 60);
        assert_in_range(after(Level::kDebug, 7000, 0), 48, 60);
        assert_int_equal(after(Level::kCritical, 0, 1000), 1);
    }
    std::set<uint32_t> spread;
    for (uint32_t drawn = 0; drawn < 1024; ++drawn) {
        spread.insert(shed_retry_after(marks, Level::kDebug, 7000, 1000000, 6500, drawn));
    }
    assert_int_equal(*spread.begin(), 16);
    assert_int_equal(*spread.rbegin(), 24);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(pressure_is_a_part_of_what_there_is),
        cmocka_unit_test(each_level_is_shed_between_its_watermark_and_the_next),
        cmocka_unit_test(a_level_is_shed_until_the_pressure_is_well_below_its_watermark),
        cmocka_unit_test(without_hysteresis_the_ramp_begins_at_the_watermark),
        cmocka_unit_test(a_share_is_what_random_numbers_make_of_it),
        cmocka_unit_test(lower_levels_go_first_whatever_has_been),
        cmocka_unit_test(more_pressure_never_sheds_less),
        cmocka_unit_test(within_the_hysteresis_nothing_begins_or_ends),
        cmocka_unit_test(who_is_refused_is_told_when_the_pressure_may_be_gone),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

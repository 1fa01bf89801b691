#include "common/breaker.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include "t/sim/chance.hpp"
#include "t/unit/cmocka.hpp"

using namespace sluice;
using sim::Chance;

static const BreakerSettings kSettings;
static const uint64_t kOpenMax = kSettings.open_ms * 12 / 10;
static const uint64_t kLease = kSettings.slow_ms + 500;
static const uint64_t kStart = 5000000;

static Breaker::Moment at(uint64_t ms, uint32_t random = 0) {
    return {ms, random};
}

static bool is_closed(const Breaker& breaker, uint64_t ms) {
    return breaker.state(ms) == BreakerState::kClosed;
}

static void refuse(Breaker* breaker, uint64_t ms, uint32_t random = 0) {
    assert_true(breaker->refused(kSettings, at(ms, random), breaker->era(), BreakerReason::kOom));
}

// Opened at ms, and closed again by a probe at the time that is returned.
static uint64_t reopen(Breaker* breaker, uint64_t ms) {
    refuse(breaker, ms);
    const uint64_t asked_ms = ms + breaker->opens_for_ms(ms);
    Breaker::Probe probe;
    assert_true(breaker->take_probe(kSettings, asked_ms, &probe));
    assert_true(breaker->probe_succeeded(probe, asked_ms));
    return asked_ms;
}

static void all_zero_is_closed(void**) {
    Breaker breaker;
    assert_true(is_closed(breaker, 0));
    assert_true(breaker.admits(at(1), false));
    Breaker::Probe probe;
    assert_false(breaker.take_probe(kSettings, kStart, &probe));
}

static void half_of_ten_calls_open_it(void**) {
    Breaker breaker;
    for (int i = 0; i < 5; i++) {
        breaker.stored(breaker.era(), kStart);
        assert_false(breaker.failed(kSettings, at(kStart), breaker.era()) && i < 4);
    }
    assert_false(is_closed(breaker, kStart));
    assert_false(breaker.admits(at(kStart), true));
}

static void nine_calls_say_nothing(void**) {
    Breaker breaker;
    for (int i = 0; i < 9; i++) {
        assert_false(breaker.failed(kSettings, at(kStart), breaker.era()));
    }
    assert_true(is_closed(breaker, kStart));
    assert_true(breaker.failed(kSettings, at(kStart), breaker.era()));
    assert_false(breaker.failed(kSettings, at(kStart), breaker.era()));
}

static void less_than_half_do_not(void**) {
    Breaker breaker;
    for (uint64_t ms = kStart; ms < kStart + 60000; ms += 10) {
        breaker.stored(breaker.era(), ms);
        breaker.stored(breaker.era(), ms);
        assert_false(breaker.failed(kSettings, at(ms), breaker.era()));
    }
}

static void what_is_older_than_the_window_is_forgotten(void**) {
    Breaker breaker;
    for (int i = 0; i < 9; i++) {
        assert_false(breaker.failed(kSettings, at(kStart), breaker.era()));
    }
    const uint64_t later = kStart + Breaker::kWindowMs + Breaker::kBucketMs;
    for (int i = 0; i < 9; i++) {
        assert_false(breaker.failed(kSettings, at(later), breaker.era()));
    }
    assert_true(breaker.failed(kSettings, at(later + Breaker::kWindowMs - Breaker::kBucketMs),
                               breaker.era()));
}

static void a_bucket_that_is_full_keeps_its_share(void**) {
    Breaker breaker;
    for (int i = 0; i < 200000; i++) {
        breaker.stored(breaker.era(), kStart);
    }
    for (int i = 0; i < 20000; i++) {
        assert_false(breaker.failed(kSettings, at(kStart), breaker.era()));
    }
    for (int i = 0; i < 80000 && is_closed(breaker, kStart); i++) {
        breaker.failed(kSettings, at(kStart), breaker.era());
    }
    assert_false(is_closed(breaker, kStart));
}

static void what_redis_refuses_everybody_opens_it_at_once(void**) {
    Breaker breaker;
    breaker.stored(breaker.era(), kStart);
    refuse(&breaker, kStart);
    assert_false(breaker.refused(kSettings, at(kStart), breaker.era(), BreakerReason::kOom));
}

static void silence_opens_it_if_nothing_is_stored_meanwhile(void**) {
    Breaker breaker;
    const uint64_t due = kStart + kSettings.slow_ms;
    breaker.stored(breaker.era(), kStart);
    assert_false(breaker.still_waiting(kSettings, at(due - 1), breaker.era(), kStart));
    breaker.stored(breaker.era(), kStart + 1);
    assert_false(breaker.still_waiting(kSettings, at(due + 1), breaker.era(), kStart));
    assert_true(breaker.still_waiting(kSettings, at(due + 1), breaker.era(), kStart + 1));
}

static void nobody_connected_opens_it_if_nobody_reaches_redis(void**) {
    Breaker breaker;
    breaker.begin(kStart);
    const uint64_t due = kStart + Breaker::kWindowMs;
    assert_false(breaker.not_connected(kSettings, at(due - 1)));
    breaker.alive(kStart + 1);
    assert_false(breaker.not_connected(kSettings, at(due)));
    assert_true(breaker.not_connected(kSettings, at(due + 1)));
    assert_false(breaker.not_connected(kSettings, at(due + 1)));
}

static void how_long_it_is_open_differs(void**) {
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t random = 0; random < 1000; random++) {
        Breaker breaker;
        refuse(&breaker, kStart, random);
        const uint64_t pause = breaker.opens_for_ms(kStart);
        least = std::min(least, pause);
        most = std::max(most, pause);
        Breaker::Probe probe;
        assert_false(breaker.take_probe(kSettings, kStart + pause - 1, &probe));
        assert_true(breaker.state(kStart + pause) == BreakerState::kOpen);
        assert_true(breaker.take_probe(kSettings, kStart + pause, &probe));
    }
    assert_int_equal(least, kSettings.open_ms * 8 / 10);
    assert_int_equal(most, kOpenMax);
}

static void one_probe_at_a_time(void**) {
    Breaker breaker;
    refuse(&breaker, kStart);
    const uint64_t now = kStart + kOpenMax;
    Breaker::Probe probe, other;
    assert_true(breaker.take_probe(kSettings, now, &probe));
    assert_true(breaker.state(now) == BreakerState::kHalfOpen);
    assert_false(breaker.admits(at(now), true));
    assert_false(breaker.take_probe(kSettings, now + kLease - 1, &other));
    assert_true(breaker.probe_succeeded(probe, now));
    assert_true(is_closed(breaker, now));
    assert_false(breaker.probe_succeeded(probe, now));
}

static void a_probe_that_fails_opens_it_again(void**) {
    Breaker breaker;
    refuse(&breaker, kStart);
    uint64_t now = kStart;
    for (int i = 0; i < 100; i++) {
        now += breaker.opens_for_ms(now);
        Breaker::Probe probe;
        assert_true(breaker.take_probe(kSettings, now, &probe));
        breaker.probe_failed(kSettings, at(now), probe);
        assert_true(breaker.state(now) == BreakerState::kOpen);
        assert_in_range(breaker.opens_for_ms(now), kSettings.open_ms * 8 / 10, kOpenMax);
        assert_false(breaker.probe_succeeded(probe, now));
    }
}

static void a_probe_whose_owner_died_is_followed_by_another(void**) {
    Breaker breaker;
    refuse(&breaker, kStart);
    const uint64_t now = kStart + kOpenMax;
    Breaker::Probe dead, probe;
    assert_true(breaker.take_probe(kSettings, now, &dead));
    assert_true(breaker.state(now + kLease) == BreakerState::kOpen);
    assert_true(breaker.take_probe(kSettings, now + kLease, &probe));
    assert_true(dead != probe);
    breaker.probe_failed(kSettings, at(now + kLease), dead);
    assert_true(breaker.state(now + kLease) == BreakerState::kHalfOpen);
    assert_false(breaker.probe_succeeded(dead, now + kLease));
    assert_true(breaker.probe_succeeded(probe, now + kLease));
}

static void a_late_answer_counts_if_nobody_else_asks(void**) {
    Breaker breaker;
    refuse(&breaker, kStart);
    const uint64_t now = kStart + kOpenMax;
    Breaker::Probe probe;
    assert_true(breaker.take_probe(kSettings, now, &probe));
    assert_true(breaker.probe_succeeded(probe, now + 10 * kLease));
    assert_true(is_closed(breaker, now + 10 * kLease));
}

static void outcomes_of_another_era_do_not_count(void**) {
    Breaker breaker;
    const Breaker::Era before = breaker.era();
    const uint64_t now = reopen(&breaker, kStart) + Breaker::kRampMs;
    for (int i = 0; i < 100; i++) {
        assert_false(breaker.failed(kSettings, at(now), before));
    }
    assert_false(breaker.refused(kSettings, at(now), before, BreakerReason::kOom));
    assert_false(breaker.still_waiting(kSettings, at(now), before, kStart));
    for (int i = 0; i < 9; i++) {
        assert_false(breaker.failed(kSettings, at(now), breaker.era()));
    }
    assert_true(is_closed(breaker, now));
}

static void what_is_stored_while_it_is_open_does_not_close_it(void**) {
    Breaker breaker;
    const Breaker::Era before = breaker.era();
    refuse(&breaker, kStart);
    breaker.stored(before, kStart + 10);
    breaker.stored(breaker.era(), kStart + 10);
    assert_true(breaker.state(kStart + 10) == BreakerState::kOpen);
}

static void what_failed_before_it_closed_is_forgotten(void**) {
    Breaker breaker;
    for (int i = 0; i < 9; i++) {
        breaker.failed(kSettings, at(kStart), breaker.era());
    }
    const BreakerSettings brief = {50, 10, 200, 200};
    assert_true(breaker.refused(brief, at(kStart), breaker.era(), BreakerReason::kOom));
    Breaker::Probe probe;
    assert_true(breaker.take_probe(brief, kStart + 240, &probe));
    assert_true(breaker.probe_succeeded(probe, kStart + 240));
    const uint64_t now = kStart + 240 + Breaker::kRampMs;
    assert_true(now < kStart + Breaker::kWindowMs);
    assert_false(breaker.failed(brief, at(now), breaker.era()));
}

static unsigned share_at(const Breaker& breaker, uint64_t ms) {
    unsigned passed = 0;
    for (uint32_t random = 0; random < 10000; random++) {
        passed += breaker.admits(at(ms, random), false);
    }
    return passed / 100;
}

static void closed_again_it_lets_more_pass_step_by_step(void**) {
    Breaker breaker;
    const uint64_t closed = reopen(&breaker, kStart);
    assert_int_equal(share_at(breaker, closed - 3), 25);
    assert_int_equal(share_at(breaker, closed), 25);
    assert_int_equal(share_at(breaker, closed + 249), 25);
    assert_int_equal(share_at(breaker, closed + 250), 50);
    assert_int_equal(share_at(breaker, closed + 500), 75);
    assert_int_equal(share_at(breaker, closed + 750), 100);
    assert_int_equal(share_at(breaker, closed + 1000000), 100);
    assert_true(breaker.admits(at(closed, 3), true));
}

static void a_failure_meanwhile_opens_it_again(void**) {
    Breaker breaker;
    uint64_t closed = reopen(&breaker, kStart);
    assert_true(breaker.failed(kSettings, at(closed + Breaker::kRampMs - 1), breaker.era()));
    assert_false(is_closed(breaker, closed + Breaker::kRampMs));

    Breaker later;
    closed = reopen(&later, kStart);
    assert_false(later.failed(kSettings, at(closed + Breaker::kRampMs), later.era()));
}

static void eras_may_wrap(void**) {
    Breaker breaker;
    uint64_t now = kStart;
    for (int i = 0; i < 70000; i++) {
        now = reopen(&breaker, now);
    }
    assert_true(is_closed(breaker, now));
}

static void of_many_that_try_at_once_one_gets_the_probe(void**) {
    constexpr int kThreads = 8;
    constexpr int kRounds = 2000;
    Breaker breaker;
    std::atomic<int> arrived{0};
    std::atomic<int> opened{0};
    std::atomic<int> taken{0};
    std::atomic<int> closed{0};
    std::atomic<uint64_t> now{kStart};

    auto meet = [&arrived](int* times) {
        ++*times;
        arrived++;
        while (arrived < *times * kThreads) {
            std::this_thread::yield();
        }
    };
    auto run = [&] {
        int times = 0;
        for (int round = 0; round < kRounds; round++) {
            meet(&times);
            const uint64_t ms = now;
            const Breaker::Era era = breaker.era();
            meet(&times);
            opened += breaker.refused(kSettings, at(ms), era, BreakerReason::kOom);
            meet(&times);
            Breaker::Probe probe;
            const bool mine = breaker.take_probe(kSettings, ms + kOpenMax, &probe);
            taken += mine;
            meet(&times);
            closed += mine && breaker.probe_succeeded(probe, ms + kOpenMax);
            now = ms + 10000;
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; i++) {
        threads.emplace_back(run);
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    assert_int_equal(opened, kRounds);
    assert_int_equal(taken, kRounds);
    assert_int_equal(closed, kRounds);
}

static void nothing_is_lost_of_what_many_count_at_once(void**) {
    Breaker breaker;
    const BreakerSettings settings = {50, 8000, 2000, 1000};
    std::atomic<int> opened{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++) {
        threads.emplace_back([&] {
            for (int n = 0; n < 1000; n++) {
                opened += breaker.failed(settings, at(kStart), 0);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    assert_int_equal(opened, 1);
}

// Eight workers before a Redis that comes and goes. Each does what the edge does; one may die at
// any moment, with whatever it holds.
namespace {

struct Sent {
    Breaker::Era era;
    uint64_t ms;
};

struct Worker {
    std::vector<Sent> frames;
    bool asks = false;
    Breaker::Probe probe = 0;
};

enum class Redis { kWell, kFull, kSilent, kAway };

class World {
  public:
    explicit World(uint64_t seed) : chance_(seed) { breaker_.begin(now_); }

    void run_storm() {
        for (int i = 0; i < 400; i++) {
            if (chance_.one_in(40)) {
                static constexpr Redis kStates[] = {Redis::kWell, Redis::kFull, Redis::kSilent,
                                                    Redis::kAway};
                redis_ = chance_.among(kStates);
            }
            now_ += chance_.below(chance_.one_in(50) ? 3000 : 60);
            step(&workers_[chance_.below(kWorkers)], true);
        }
    }

    // Whatever happened before: with Redis well and one worker left, it closes, and stays so.
    void check_recovery() {
        redis_ = Redis::kWell;
        Worker* const last = &workers_[chance_.below(kWorkers)];
        for (Worker& worker : workers_) {
            if (&worker != last) {
                worker = Worker();
            }
        }
        const uint64_t due = now_ + kOpenMax + kLease + 500;
        while (now_ < due) {
            now_ += 50;
            step(last, false);
        }
        for (int i = 0; i < 100; i++) {
            assert_true(is_closed(breaker_, now_));
            now_ += 50;
            step(last, false);
        }
        assert_int_equal(share_at(breaker_, now_), 100);
    }

    int opened = 0;
    int closed = 0;
    int died_asking = 0;

  private:
    static constexpr size_t kWorkers = 8;

    Breaker::Moment moment() { return at(now_, static_cast<uint32_t>(chance_.next())); }

    void step(Worker* worker, bool mortal) {
        if (mortal && chance_.one_in(25)) {
            died_asking += worker->asks;
            *worker = Worker();
        }
        if (redis_ != Redis::kSilent) {
            answer_all(worker);
        }
        if (redis_ == Redis::kAway) {
            was_opened(breaker_.not_connected(kSettings, moment()));
            return;
        }
        look(worker);
        if (breaker_.admits(moment(), worker->frames.empty()) && worker->frames.size() < 4) {
            assert_true(is_closed(breaker_, now_));
            worker->frames.push_back({breaker_.era(), now_});
        }
    }

    void answer_all(Worker* worker) {
        for (const Sent& frame : worker->frames) {
            switch (redis_) {
                case Redis::kWell:
                    breaker_.stored(frame.era, now_);
                    break;
                case Redis::kFull:
                    was_opened(
                        breaker_.refused(kSettings, moment(), frame.era, BreakerReason::kOom));
                    break;
                default:
                    was_opened(breaker_.failed(kSettings, moment(), frame.era));
            }
        }
        worker->frames.clear();
        if (worker->asks) {
            worker->asks = false;
            if (redis_ != Redis::kWell) {
                breaker_.probe_failed(kSettings, moment(), worker->probe);
            } else if (breaker_.probe_succeeded(worker->probe, now_)) {
                assert_true(worker->probe == asked_);
                asked_ = 0;
                closed++;
            }
            if (worker->probe == asked_) {
                asked_ = 0;
            }
        }
    }

    void look(Worker* worker) {
        bool waits = worker->asks;
        for (const Sent& frame : worker->frames) {
            was_opened(breaker_.still_waiting(kSettings, moment(), frame.era, frame.ms));
            waits |= now_ - frame.ms >= kSettings.slow_ms;
        }
        Breaker::Probe probe;
        if (!waits && breaker_.take_probe(kSettings, now_, &probe)) {
            assert_true(asked_ == 0 || now_ >= asked_ms_ + kLease);
            assert_true(probe != asked_);
            asked_ = worker->probe = probe;
            asked_ms_ = now_;
            worker->asks = true;
        }
    }

    void was_opened(bool is) {
        if (is) {
            assert_true(redis_ != Redis::kWell);
            assert_false(is_closed(breaker_, now_));
            opened++;
        }
    }

    Chance chance_;
    Breaker breaker_;
    Worker workers_[kWorkers];
    Redis redis_ = Redis::kWell;
    uint64_t now_ = kStart;
    Breaker::Probe asked_ = 0;  // the one whose lease runs, or ran out
    uint64_t asked_ms_ = 0;
};

}  // namespace

static void workers_that_die_leave_nothing_stuck(void**) {
    int opened = 0, closed = 0, died_asking = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        World world(seed);
        for (int storm = 0; storm < 3; storm++) {
            world.run_storm();
            world.check_recovery();
        }
        opened += world.opened;
        closed += world.closed;
        died_asking += world.died_asking;
    }
    assert_true(opened > 3000);
    assert_true(closed > 3000);
    assert_true(died_asking > 300);
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(all_zero_is_closed),
        cmocka_unit_test(half_of_ten_calls_open_it),
        cmocka_unit_test(nine_calls_say_nothing),
        cmocka_unit_test(less_than_half_do_not),
        cmocka_unit_test(what_is_older_than_the_window_is_forgotten),
        cmocka_unit_test(a_bucket_that_is_full_keeps_its_share),
        cmocka_unit_test(what_redis_refuses_everybody_opens_it_at_once),
        cmocka_unit_test(silence_opens_it_if_nothing_is_stored_meanwhile),
        cmocka_unit_test(nobody_connected_opens_it_if_nobody_reaches_redis),
        cmocka_unit_test(how_long_it_is_open_differs),
        cmocka_unit_test(one_probe_at_a_time),
        cmocka_unit_test(a_probe_that_fails_opens_it_again),
        cmocka_unit_test(a_probe_whose_owner_died_is_followed_by_another),
        cmocka_unit_test(a_late_answer_counts_if_nobody_else_asks),
        cmocka_unit_test(outcomes_of_another_era_do_not_count),
        cmocka_unit_test(what_is_stored_while_it_is_open_does_not_close_it),
        cmocka_unit_test(what_failed_before_it_closed_is_forgotten),
        cmocka_unit_test(closed_again_it_lets_more_pass_step_by_step),
        cmocka_unit_test(a_failure_meanwhile_opens_it_again),
        cmocka_unit_test(eras_may_wrap),
        cmocka_unit_test(of_many_that_try_at_once_one_gets_the_probe),
        cmocka_unit_test(nothing_is_lost_of_what_many_count_at_once),
        cmocka_unit_test(workers_that_die_leave_nothing_stuck),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

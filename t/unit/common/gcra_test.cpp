#include "common/gcra.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "t/unit/cmocka.hpp"

using namespace sluice;

__extension__ using int128_t = __int128;

static constexpr uint64_t kMs = 1000 * 1000;
static constexpr uint64_t kSecond = 1000 * kMs;
static constexpr uint64_t kMinute = 60 * kSecond;
static constexpr uint64_t kStart = 1000 * kSecond;
static constexpr uint64_t kHuge = UINT64_MAX;

static void assert_judged(const Judgement& judged, Verdict verdict, uint64_t wait_ns) {
    assert_int_equal(static_cast<int>(judged.verdict), static_cast<int>(verdict));
    assert_true(judged.wait_ns == wait_ns);
}

// A client and its word.
struct Client {
    const GcraLimit& limit;
    uint64_t tat = 0;

    Judgement send(uint64_t now_ns, uint64_t n) {
        const Judgement judged = limit.judge(tat, now_ns, n);
        if (judged.admitted()) {
            tat = limit.spent(tat, now_ns, n);
        }
        return judged;
    }
};

static void ten_a_second_with_a_burst_of_five(void**) {
    const GcraLimit limit(10, kSecond, 5, 0);
    assert_true(limit.cost_ns(1) == 100 * kMs);
    assert_true(limit.burst_ns() == 500 * kMs);
    Client client{limit};
    for (uint64_t i = 0; i < 5; i++) {
        assert_true(limit.remaining(client.tat, kStart) == 5 - i);
        assert_true(limit.full_in_ns(client.tat, kStart) == i * 100 * kMs);
        assert_judged(client.send(kStart, 1), Verdict::kPass, 0);
    }
    assert_true(limit.remaining(client.tat, kStart) == 0);
    assert_judged(client.send(kStart, 1), Verdict::kRefuse, 100 * kMs);
    assert_judged(client.send(kStart, 3), Verdict::kRefuse, 300 * kMs);
    assert_judged(client.send(kStart + 100 * kMs - 1, 1), Verdict::kRefuse, 1);
    assert_judged(client.send(kStart + 100 * kMs, 1), Verdict::kPass, 0);
    assert_true(limit.remaining(client.tat, kStart + 350 * kMs) == 2);
    assert_true(limit.remaining(client.tat, kStart + kMinute) == 5);
    assert_true(limit.full_in_ns(client.tat, kStart + kMinute) == 0);
    assert_judged(client.send(kStart + kMinute, 5), Verdict::kPass, 0);
    assert_judged(client.send(kStart + kMinute, 6), Verdict::kNever, 0);
}

static void a_gigabyte_a_second(void**) {
    const GcraLimit limit(kSecond, kSecond, 1 << 20, 0);
    Client client{limit};
    assert_judged(client.send(kStart, 1 << 20), Verdict::kPass, 0);
    assert_judged(client.send(kStart, 1), Verdict::kRefuse, 1);
    assert_judged(client.send(kStart + 4096, 4096), Verdict::kPass, 0);
    assert_judged(client.send(kStart + 4096, 1), Verdict::kRefuse, 1);
    assert_judged(client.send(kStart, (1 << 20) + 1), Verdict::kNever, 0);
}

static void beyond_a_unit_a_nanosecond_charges_are_rounded_up(void**) {
    const GcraLimit limit(4 * kSecond, kSecond, 1001, 0);
    assert_true(limit.cost_ns(1) == 1);
    assert_true(limit.cost_ns(4) == 1);
    assert_true(limit.cost_ns(5) == 2);
    assert_true(limit.burst_ns() == 251);
    assert_true(limit.remaining(0, kStart) == 1001);
}

static void three_a_second_are_not_whole_nanoseconds(void**) {
    const GcraLimit limit(3, kSecond, 3, 0);
    assert_true(limit.cost_ns(1) == 333333334);
    assert_true(limit.cost_ns(3) == kSecond);
    Client client{limit};
    assert_judged(client.send(kStart, 3), Verdict::kPass, 0);
    assert_judged(client.send(kStart + 333333333, 1), Verdict::kRefuse, 1);
    assert_judged(client.send(kStart + 333333334, 1), Verdict::kPass, 0);
}

static void one_a_minute_has_a_burst_of_one_at_least(void**) {
    const GcraLimit limit(1, kMinute, 0, 0);
    Client client{limit};
    assert_judged(client.send(kStart, 1), Verdict::kPass, 0);
    assert_judged(client.send(kStart + kMinute - 1, 1), Verdict::kRefuse, 1);
    assert_judged(client.send(kStart + kMinute, 1), Verdict::kPass, 0);
    assert_judged(client.send(kStart, 2), Verdict::kNever, 0);
}

static void a_delay_lets_wait_what_is_beyond_the_burst(void**) {
    const GcraLimit limit(10, kSecond, 1, 300 * kMs);
    Client client{limit};
    assert_judged(client.send(kStart, 1), Verdict::kPass, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_judged(client.send(kStart, 1), Verdict::kWait, i * 100 * kMs);
        assert_true(limit.remaining(client.tat, kStart) == 0);
    }
    assert_judged(client.send(kStart, 1), Verdict::kRefuse, 100 * kMs);
    assert_judged(client.send(kStart + 50 * kMs, 1), Verdict::kRefuse, 50 * kMs);
    assert_judged(client.send(kStart + 100 * kMs, 1), Verdict::kWait, 300 * kMs);
    // More than the burst at once waits for its last.
    assert_judged(client.send(kStart + kMinute, 4), Verdict::kWait, 300 * kMs);
    assert_judged(client.send(kStart + 2 * kMinute, 5), Verdict::kNever, 0);
}

static void what_is_given_back_was_never_taken(void**) {
    const GcraLimit limit(10, kSecond, 5, 0);
    Client client{limit};
    assert_true(client.send(kStart, 2).admitted());
    const uint64_t before = client.tat;
    assert_true(client.send(kStart, 3).admitted());
    assert_true(limit.given_back(client.tat, client.tat, kStart, 3) == before);
    // Others may have charged on top of it.
    const uint64_t first = before;
    assert_true(limit.given_back(client.tat, first, kStart, 2) == client.tat - 200 * kMs);
    // Late, only what was still owed of it counts: here 50 of 200 ms.
    assert_true(limit.given_back(client.tat, first, kStart + 150 * kMs, 2) ==
                client.tat - 50 * kMs);
    assert_true(limit.given_back(client.tat, first, kStart + kSecond, 2) == client.tat);
    assert_true(limit.given_back(5, kStart + kSecond, kStart, 5) == 0);
}

static void huge_numbers_saturate(void**) {
    const GcraLimit slow(1, kHuge, kHuge, kHuge);
    assert_judged(slow.judge(0, kStart, kHuge), Verdict::kNever, 0);
    assert_judged(slow.judge(0, kStart, 1), Verdict::kNever, 0);
    assert_judged(slow.judge(kHuge, kStart, 0), Verdict::kWait, GcraLimit::kNsMax);
    const GcraLimit fast(kHuge, 1, kHuge, 0);
    assert_true(fast.cost_ns(kHuge) == 1);
    assert_judged(fast.judge(0, kStart, kHuge), Verdict::kPass, 0);
    assert_true(fast.remaining(0, kStart) == kHuge);
    const GcraLimit ten(10, kSecond, 5, kSecond);
    assert_judged(ten.judge(0, kStart, kHuge), Verdict::kNever, 0);
    assert_judged(ten.judge(kHuge, kStart, kHuge), Verdict::kNever, 0);
    const GcraLimit none(0, kSecond, 5, 0);
    assert_judged(none.judge(0, kStart, 1), Verdict::kNever, 0);
    assert_judged(none.judge(0, kStart, 0), Verdict::kPass, 0);
}

static void a_word_that_cannot_be_is_the_most_that_can(void**) {
    const GcraLimit limit(10, kSecond, 5, kSecond);
    const uint64_t most = kStart + limit.burst_ns() + limit.delay_ns();
    for (uint64_t corrupt : {most + GcraLimit::kClockSkewNs + 1, kHuge}) {
        assert_true(limit.healed(corrupt, kStart) == most);
        assert_judged(limit.judge(corrupt, kStart, 1), Verdict::kRefuse, 100 * kMs);
        assert_true(limit.full_in_ns(corrupt, kStart) == limit.burst_ns() + limit.delay_ns());
    }
    // A worker that lags sees words from its future, and lets nobody have more because of it.
    const uint64_t lag = GcraLimit::kClockSkewNs;
    assert_true(limit.healed(most, kStart - lag) == most);
    assert_judged(limit.judge(most, kStart - lag, 1), Verdict::kRefuse, lag + 100 * kMs);
}

static void a_word_may_be_of_a_limit_that_lets_more_be_owed(void**) {
    const GcraLimit patient(10, kSecond, 5, 100 * kSecond);
    const uint64_t owed_max_ns = patient.burst_ns() + patient.delay_ns();
    const GcraLimit limit(10, kSecond, 5, 0, owed_max_ns);
    const uint64_t most = kStart + owed_max_ns;
    assert_true(limit.healed(most, kStart) == most);
    assert_judged(limit.judge(most, kStart, 1), Verdict::kRefuse, 100 * kSecond + 100 * kMs);
    assert_true(limit.healed(kHuge, kStart) == most);
    assert_true(GcraLimit(10, kSecond, 5, kSecond, 1).healed(kHuge, kStart) ==
                kStart + 1500 * kMs);
}

static void the_largest_is_the_last_that_is_not_too_large(void**) {
    for (const GcraLimit& limit : {GcraLimit(10, kSecond, 5, 0), GcraLimit(10, kSecond, 5, kSecond),
                                   GcraLimit(3, 10, 7, 0), GcraLimit(7, 3, 100, 1),
                                   GcraLimit(1, 60 * kSecond, 1, 0)}) {
        assert_true(limit.judge(0, kStart, limit.largest()).admitted());
        assert_judged(limit.judge(0, kStart, limit.largest() + 1), Verdict::kNever, 0);
    }
    assert_true(GcraLimit(10, kSecond, 5, kSecond).largest() == 15);
    assert_true(GcraLimit(1, 0, 5, 0).largest() == kHuge);
    assert_true(GcraLimit(0, kSecond, 5, 0).largest() == 0);
}

static void a_share_is_slower_and_has_a_burst_of_its_own(void**) {
    const GcraLimit share = GcraLimit(10, kSecond, 8, kSecond).share(4, 3 * kSecond);
    assert_true(share.cost_ns(1) == 400 * kMs);
    assert_true(share.burst_ns() == 2 * kSecond && share.delay_ns() == kSecond);
    Client client{share};
    for (uint64_t i = 0; i < 5; i++) {
        assert_judged(client.send(kStart, 1), Verdict::kPass, 0);
    }
    assert_judged(client.send(kStart, 1), Verdict::kWait, 400 * kMs);
    assert_judged(client.send(kStart, 2), Verdict::kRefuse, 200 * kMs);
    assert_true(GcraLimit(1, kHuge, 1, 0).share(2, kSecond).cost_ns(1) > GcraLimit::kNsMax);
}

struct Sent {
    uint64_t at_ns;
    uint64_t n;
};

// In every stretch of what was sent: the sum of n <= burst + rate * (time + 1 ns), in exact
// arithmetic. A delay lets in a single n above the burst.
static void assert_bounded(const std::vector<Sent>& sent, uint64_t units, uint64_t period_ns,
                           uint64_t burst) {
    for (size_t i = 0; i < sent.size(); i++) {
        int128_t sum = 0;
        for (size_t j = i; j < sent.size(); j++) {
            sum += sent[j].n;
            const int128_t time = static_cast<int128_t>(sent[j].at_ns) - sent[i].at_ns + 1;
            assert_true(sum * period_ns <=
                        static_cast<int128_t>(std::max(burst, sent[i].n)) * period_ns +
                            time * units);
        }
    }
}

struct Shape {
    uint64_t units, period_ns, burst;
};

static const Shape kShapes[] = {
    {10, kSecond, 5},
    {3, kSecond, 1},
    {1, kMinute, 3},
    {7, kSecond, 100},
    {1000, kSecond, 20},
    {kSecond, kSecond, 65536},
    {4 * kSecond, kSecond, 1001},
    {999, kMinute, 7},
};

// Gaps from none to long idleness, in terms of what a unit and the burst cost; sometimes a worker's
// clock lags.
class Schedule {
  public:
    Schedule(const GcraLimit& limit, uint64_t burst, unsigned seed)
        : limit_(limit), burst_(burst), random_(seed) {}

    uint64_t next_now() {
        const uint64_t unit = limit_.cost_ns(1);
        const uint64_t gaps[] = {0, below(unit), below(3 * unit), below(2 * limit_.burst_ns())};
        now_ns_ += gaps[below(32) == 0 ? 3 : below(3)];
        return below(8) == 0 ? now_ns_ - below(kSecond) : now_ns_;
    }

    uint64_t next_n() { return below(4) == 0 ? 1 + below(burst_ + burst_ / 2) : 1; }

  private:
    uint64_t below(uint64_t end) { return end == 0 ? 0 : random_() % end; }

    const GcraLimit& limit_;
    uint64_t burst_;
    std::mt19937_64 random_;
    uint64_t now_ns_ = kStart;
};

static void what_passes_is_bounded(void**) {
    for (unsigned seed = 0; seed < 20; seed++) {
        for (const Shape& shape : kShapes) {
            const GcraLimit limit(shape.units, shape.period_ns, shape.burst, 0);
            Schedule schedule(limit, shape.burst, seed);
            Client client{limit};
            std::vector<Sent> passed;
            for (int i = 0; i < 600; i++) {
                const Sent sent = {schedule.next_now(), schedule.next_n()};
                const uint64_t remaining = limit.remaining(client.tat, sent.at_ns);
                const uint64_t tat = client.tat;
                const Judgement judged = client.send(sent.at_ns, sent.n);
                assert_true(judged.verdict != Verdict::kWait);
                if (judged.verdict == Verdict::kPass) {
                    passed.push_back(sent);
                }
                assert_true(sent.n > remaining || judged.verdict == Verdict::kPass);
                assert_true(remaining == shape.burst ||
                            limit.judge(tat, sent.at_ns, remaining + 1).verdict != Verdict::kPass);
                if (judged.verdict == Verdict::kRefuse) {
                    const uint64_t then = sent.at_ns + judged.wait_ns;
                    assert_true(limit.judge(tat, then, sent.n).admitted());
                    assert_false(limit.judge(tat, then - 1, sent.n).admitted());
                }
            }
            assert_true(passed.size() > 50);
            assert_bounded(passed, shape.units, shape.period_ns, shape.burst);
        }
    }
}

static void what_is_released_is_bounded_and_in_order(void**) {
    for (unsigned seed = 0; seed < 20; seed++) {
        for (const Shape& shape : kShapes) {
            const uint64_t delay_ns =
                3 * GcraLimit(shape.units, shape.period_ns, shape.burst, 0).burst_ns();
            const GcraLimit limit(shape.units, shape.period_ns, shape.burst, delay_ns);
            Schedule schedule(limit, shape.burst, seed);
            Client client{limit};
            std::vector<Sent> released;
            size_t waited = 0;
            uint64_t last_waiting_ns = 0;
            for (int i = 0; i < 600; i++) {
                const uint64_t now_ns = schedule.next_now();
                const uint64_t n = schedule.next_n();
                const Judgement judged = client.send(now_ns, n);
                if (!judged.admitted()) {
                    continue;
                }
                assert_true(judged.wait_ns <= delay_ns);
                const uint64_t at_ns = now_ns + judged.wait_ns;
                assert_true(at_ns >= last_waiting_ns);
                if (judged.verdict == Verdict::kWait) {
                    waited++;
                    last_waiting_ns = at_ns;
                }
                released.push_back({at_ns, n});
            }
            assert_true(waited > 50);
            assert_bounded(released, shape.units, shape.period_ns, shape.burst);
        }
    }
}

static void released_one_by_one_in_step(void**) {
    const GcraLimit limit(3, kSecond, 1, kMinute);
    Client client{limit};
    uint64_t last_ns = kStart;
    assert_judged(client.send(kStart, 1), Verdict::kPass, 0);
    for (uint64_t i = 1; i <= 100; i++) {
        const uint64_t now_ns = kStart + i * kMs;
        const uint64_t at_ns = now_ns + client.send(now_ns, 1).wait_ns;
        assert_true(at_ns - last_ns == limit.cost_ns(1));
        last_ns = at_ns;
    }
}

static void who_keeps_to_the_rate_is_never_refused(void**) {
    for (const Shape& shape : kShapes) {
        const GcraLimit limit(shape.units, shape.period_ns, shape.burst, 0);
        std::mt19937_64 random(shape.burst);
        Client client{limit};
        uint64_t now_ns = kStart;
        for (int i = 0; i < 2000; i++) {
            const uint64_t n = 1 + random() % shape.burst;
            assert_judged(client.send(now_ns, n), Verdict::kPass, 0);
            now_ns += limit.cost_ns(n) + (random() % 4 == 0 ? random() % shape.period_ns : 0);
        }
    }
}

static void a_clock_that_stands_still_lets_pass_one_burst(void**) {
    const GcraLimit limit(1000, kSecond, 20, 0);
    Client client{limit};
    uint64_t passed = 0;
    for (int i = 0; i < 1000; i++) {
        passed += client.send(kStart, 1).admitted();
    }
    assert_true(passed == 20);
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(ten_a_second_with_a_burst_of_five),
        cmocka_unit_test(a_gigabyte_a_second),
        cmocka_unit_test(beyond_a_unit_a_nanosecond_charges_are_rounded_up),
        cmocka_unit_test(three_a_second_are_not_whole_nanoseconds),
        cmocka_unit_test(one_a_minute_has_a_burst_of_one_at_least),
        cmocka_unit_test(a_delay_lets_wait_what_is_beyond_the_burst),
        cmocka_unit_test(what_is_given_back_was_never_taken),
        cmocka_unit_test(huge_numbers_saturate),
        cmocka_unit_test(a_word_that_cannot_be_is_the_most_that_can),
        cmocka_unit_test(a_word_may_be_of_a_limit_that_lets_more_be_owed),
        cmocka_unit_test(the_largest_is_the_last_that_is_not_too_large),
        cmocka_unit_test(a_share_is_slower_and_has_a_burst_of_its_own),
        cmocka_unit_test(what_passes_is_bounded),
        cmocka_unit_test(what_is_released_is_bounded_and_in_order),
        cmocka_unit_test(released_one_by_one_in_step),
        cmocka_unit_test(who_keeps_to_the_rate_is_never_refused),
        cmocka_unit_test(a_clock_that_stands_still_lets_pass_one_burst),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

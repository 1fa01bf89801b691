// How many entries are kept for who watches, for entries of all sizes and a Redis that fills up.
#include "daemon/load/tail_window.hpp"

#include "driver.hpp"

namespace sluice::test {
namespace {

constexpr uint64_t kMegabyte = 1024 * 1024;

TailWindow first_one(uint64_t bytes_max) {
    TailWindow window(bytes_max);
    window.told({});
    return window;
}

void see(TailWindow* window, uint64_t entries, uint64_t bytes) {
    for (uint64_t i = 0; i < entries; ++i) {
        window->seen(bytes);
    }
}

void nothing_is_kept_if_so_set(void**) {
    TailWindow window(0);
    assert_int_equal(window.entries(), 0);
    see(&window, 10, 100);
    assert_int_equal(window.entries(), 0);
}

void nothing_is_trimmed_before_somebody_has_told(void**) {
    TailWindow window(kMegabyte);
    window.seen(1000);
    assert_true(window.entries() == UINT64_MAX);
    TailWindow other(kMegabyte);
    other.told({});
    assert_int_equal(other.entries(), 0);
    other.seen(960);
    assert_int_equal(other.entries(), kMegabyte / 1024);
}

void as_many_are_kept_as_fit(void**) {
    TailWindow window = first_one(kMegabyte);
    see(&window, 100000, 192);
    assert_int_equal(window.entries(), kMegabyte / 256);
    // Some large ones among many small: what is kept at any moment is what was set, about.
    for (int i = 0; i < 100; ++i) {
        see(&window, 1, 64 * 1024);
        const uint64_t kept = window.entries() * (64 * 1024 + 64 + 200 * 256) / 201;
        assert_true(i < 20 || (kept > kMegabyte / 2 && kept < kMegabyte * 3 / 2));
        see(&window, 200, 192);
    }
    // All of them large from now on: the small ones are forgotten when as much has been seen.
    see(&window, 17, 64 * 1024 - 64);
    assert_in_range(window.entries(), 16, 40);
}

void what_another_loader_knew_counts_until_as_much_is_seen(void**) {
    TailWindow window(kMegabyte);
    window.seen(100 * 1024);
    window.told({500, 1024});
    assert_in_range(window.entries(), 600, 1000);
    // Then it is this one that tells.
    window.told({500, 10});
    assert_in_range(window.entries(), 600, 1000);
    see(&window, 10000, 192);
    assert_int_equal(window.entries(), kMegabyte / 256);
}

void it_gives_way_while_redis_fills(void**) {
    TailWindow window = first_one(kMegabyte);
    see(&window, 10000, 192);
    const uint64_t whole = window.entries();
    window.measured({39 * kMegabyte, 100 * kMegabyte});
    assert_int_equal(window.entries(), whole);
    assert_false(window.gives_way());
    window.measured({45 * kMegabyte, 100 * kMegabyte});
    assert_in_range(window.entries(), whole / 2 - 1, whole / 2 + 1);
    assert_true(window.gives_way());
    window.measured({50 * kMegabyte, 100 * kMegabyte});
    assert_int_equal(window.entries(), 0);
    window.measured({500 * kMegabyte, 0});
    assert_int_equal(window.entries(), whole);
}

void of_a_small_redis_it_takes_a_small_part(void**) {
    TailWindow window = first_one(32 * kMegabyte);
    see(&window, 100000, 192);
    window.measured({kMegabyte, 64 * kMegabyte});
    assert_int_equal(window.entries(), 4 * kMegabyte / 256);
}

void a_change_of_the_setting_keeps_what_is_known(void**) {
    TailWindow window = first_one(kMegabyte);
    see(&window, 10000, 192);
    window.set_bytes_max(4 * kMegabyte);
    assert_int_equal(window.entries(), 4 * kMegabyte / 256);
    window.set_bytes_max(0);
    assert_int_equal(window.entries(), 0);
}

void a_full_redis_is_trimmed_though_nobody_acknowledges(void**) {
    LoadLimits limits;
    limits.tail_window_bytes = kMegabyte;
    Driver driver(limits);
    driver.read(RedisStep::kReadNew, {1, 2}, 50);
    driver.commit();
    RedisAction trim = driver.redis_until(RedisStep::kTrim);
    assert_true(trim.keep > 0);
    driver.answer(trim, {});
    RedisResult measured;
    measured.memory = {90, 100};
    driver.answer(driver.redis_until(RedisStep::kMeasure), std::move(measured));
    const int64_t before_us = driver.now_.steady_us;
    trim = driver.redis_until(RedisStep::kTrim);
    assert_int_equal(trim.keep, 0);
    assert_true(driver.now_.steady_us - before_us < kSecondUs / 2);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_kept_if_so_set),
        cmocka_unit_test(nothing_is_trimmed_before_somebody_has_told),
        cmocka_unit_test(as_many_are_kept_as_fit),
        cmocka_unit_test(what_another_loader_knew_counts_until_as_much_is_seen),
        cmocka_unit_test(it_gives_way_while_redis_fills),
        cmocka_unit_test(of_a_small_redis_it_takes_a_small_part),
        cmocka_unit_test(a_change_of_the_setting_keeps_what_is_known),
        cmocka_unit_test(a_full_redis_is_trimmed_though_nobody_acknowledges),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

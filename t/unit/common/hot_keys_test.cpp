#include "common/hot_keys.hpp"

#include <array>
#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "t/unit/cmocka.hpp"

using namespace sluice;

using Added = HotKeys::Added;

static constexpr size_t kBlock = 64 * 1024;
static constexpr uint64_t kMost = 100 * 1000;

// A list in memory of its own.
class Owned {
  public:
    explicit Owned(size_t block)
        : bytes_(HotKeys::bytes_in(block)), words_(bytes_ / sizeof(uint64_t)) {
        HotKeys::create(words_.data(), bytes_);
    }
    HotKeys keys() { return HotKeys::attach(words_.data(), bytes_); }

  private:
    size_t bytes_;
    std::vector<uint64_t> words_;
};

static size_t slot_of(HotKeys& keys, uint64_t key, HotKeys::Telling* telling) {
    for (size_t i = 0; i < keys.slots(); i++) {
        if (keys.take(i, 0, telling)) {
            assert_true(telling->key == key);
            return i;
        }
    }
    fail();
    return 0;
}

static void a_list_takes_an_eighth_of_its_block(void**) {
    assert_int_equal(HotKeys::bytes_in(0), 0);
    assert_int_equal(HotKeys::bytes_in(2047), 0);
    assert_int_equal(HotKeys::bytes_in(kBlock), kBlock / 8);
    assert_int_equal(HotKeys::bytes_in(size_t{1} << 30), HotKeys::kSlotsMax * 32);
    Owned owned(kBlock);
    assert_int_equal(owned.keys().slots(), kBlock / 8 / 32);
}

static void what_is_untold_is_bounded_until_it_was_told(void**) {
    Owned owned(kBlock);
    HotKeys keys = owned.keys();
    assert_true(keys.add(7, 1, kMost) == Added::kAbsent);
    assert_true(keys.insert(7, 70, kMost + 1, kMost) == Added::kBeyond);
    assert_false(keys.has(7));
    assert_true(keys.insert(7, 70, 60000, kMost) == Added::kYes);
    assert_true(keys.has(7));
    assert_true(keys.add(7, 40001, kMost) == Added::kBeyond);
    assert_true(keys.add(7, UINT64_MAX, kMost) == Added::kBeyond);
    assert_true(keys.add(7, 35500, kMost) == Added::kYes);
    assert_true(keys.untold_ns(7) == 95500);

    HotKeys::Telling telling;
    const size_t slot = slot_of(keys, 7, &telling);
    assert_true(telling.name == 70 && telling.us == 95);
    // It may not have arrived yet.
    assert_true(keys.untold_ns(7) == 95500);
    assert_true(keys.add(7, 4501, kMost) == Added::kBeyond);
    assert_true(keys.add(7, 4500, kMost) == Added::kYes);
    assert_true(keys.told(slot) == 5000);
    assert_true(keys.untold_ns(7) == 5000);
    assert_true(keys.add(7, 95000, kMost) == Added::kYes);
}

static void what_is_less_than_a_grain_is_kept(void**) {
    Owned owned(kBlock);
    HotKeys keys = owned.keys();
    HotKeys::Telling telling;
    uint64_t told_us = 0;
    assert_true(keys.insert(7, 70, 0, kMost) == Added::kYes);
    for (unsigned i = 1; i <= 1000; i++) {
        assert_true(keys.add(7, 333, kMost) == Added::kYes);
        for (size_t slot = 0; slot < keys.slots(); slot++) {
            if (keys.take(slot, 0, &telling)) {
                told_us += telling.us;
                (void)keys.told(slot);
            }
        }
    }
    assert_true(told_us == 333);
}

static void who_has_little_to_tell_may_wait(void**) {
    Owned owned(kBlock);
    HotKeys keys = owned.keys();
    HotKeys::Telling telling;
    assert_true(keys.insert(7, 70, 5000, kMost) == Added::kYes);
    for (size_t i = 0; i < keys.slots(); i++) {
        assert_false(keys.take(i, 5001, &telling));
    }
    assert_true(keys.untold_ns(7) == 5000);
    const size_t slot = slot_of(keys, 7, &telling);
    assert_false(keys.waits(slot));
    assert_true(keys.add(7, 1000, kMost) == Added::kYes);
    assert_true(keys.waits(slot));
}

static void what_was_not_admitted_is_taken_off_if_it_is_not_told(void**) {
    Owned owned(kBlock);
    HotKeys keys = owned.keys();
    HotKeys::Telling telling;
    keys.take_off(7, 1000);
    assert_true(keys.insert(7, 70, 5000, kMost) == Added::kYes);
    keys.take_off(7, 2000);
    assert_true(keys.untold_ns(7) == 3000);
    const size_t slot = slot_of(keys, 7, &telling);
    assert_true(keys.add(7, 1000, kMost) == Added::kYes);
    keys.take_off(7, 3000);
    assert_true(keys.untold_ns(7) == 3000);
    assert_true(keys.told(slot) == 0);
}

static void who_is_untold_keeps_his_place(void**) {
    Owned owned(2048);
    HotKeys keys = owned.keys();
    assert_int_equal(keys.slots(), 8);
    HotKeys::Telling telling;
    for (uint64_t key = 1; key <= 8; key++) {
        assert_true(keys.insert(key, key, 1000, kMost) == Added::kYes);
    }
    assert_true(keys.insert(9, 9, 1000, kMost) == Added::kFull);
    assert_true(keys.take(3, 0, &telling));
    assert_true(keys.insert(9, 9, 1000, kMost) == Added::kFull);
    assert_true(keys.told(3) == 0);
    assert_true(keys.has(telling.key));
    assert_true(keys.insert(9, 90, 1000, kMost) == Added::kYes);
    assert_false(keys.has(telling.key));
    assert_true(keys.add(telling.key, 1000, kMost) == Added::kAbsent);
    assert_true(keys.take(3, 0, &telling));
    assert_true(telling.key == 9 && telling.name == 90);
}

static void what_a_worker_left_half_told_does_not_count_for_ever(void**) {
    Owned owned(kBlock);
    HotKeys keys = owned.keys();
    HotKeys::Telling telling;
    assert_true(keys.insert(7, 70, kMost, kMost) == Added::kYes);
    (void)slot_of(keys, 7, &telling);
    assert_true(keys.add(7, 1000, kMost) == Added::kBeyond);
    keys.all_told();
    assert_true(keys.add(7, kMost, kMost) == Added::kYes);
}

// Everything that was added is told once, to the name of its key, while more keys than there is
// room for come and go.
static void nothing_is_told_twice_or_for_another(void**) {
    static constexpr size_t kThreads = 3;
    static constexpr uint64_t kKeys = 40;
    static constexpr uint64_t kGrains = 30000;
    Owned owned(4096);
    std::array<std::array<uint64_t, kKeys + 1>, kThreads> added{};
    std::map<uint64_t, uint64_t> told;
    std::atomic<size_t> at_work{kThreads};
    std::vector<std::thread> threads;
    for (size_t t = 0; t < kThreads; t++) {
        threads.emplace_back([&, t] {
            HotKeys keys = owned.keys();
            uint64_t random = t + 1;
            for (uint64_t i = 0; i < kGrains; i++) {
                random = random * 6364136223846793005 + 1442695040888963407;
                const uint64_t key = 1 + (random >> 33) % kKeys;
                Added result = keys.add(key, 1000, kMost);
                if (result == Added::kAbsent) {
                    result = keys.insert(key, key * 1000, 1000, kMost);
                }
                added[t][key] += result == Added::kYes;
                if (result == Added::kFull || result == Added::kBeyond) {
                    std::this_thread::yield();
                }
            }
            at_work--;
        });
    }
    HotKeys keys = owned.keys();
    bool last = false;
    do {
        last = at_work == 0;
        for (size_t i = 0; i < keys.slots(); i++) {
            HotKeys::Telling telling;
            if (keys.take(i, 0, &telling)) {
                assert_true(telling.name == telling.key * 1000);
                told[telling.key] += telling.us;
                (void)keys.told(i);
            }
        }
    } while (!last);
    for (std::thread& thread : threads) {
        thread.join();
    }
    uint64_t total = 0;
    for (uint64_t key = 1; key <= kKeys; key++) {
        uint64_t sum = 0;
        for (const auto& of_thread : added) {
            sum += of_thread[key];
        }
        assert_true(told[key] == sum);
        total += sum;
    }
    assert_true(total > kGrains / 10);
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_list_takes_an_eighth_of_its_block),
        cmocka_unit_test(what_is_untold_is_bounded_until_it_was_told),
        cmocka_unit_test(what_is_less_than_a_grain_is_kept),
        cmocka_unit_test(who_has_little_to_tell_may_wait),
        cmocka_unit_test(what_was_not_admitted_is_taken_off_if_it_is_not_told),
        cmocka_unit_test(who_is_untold_keeps_his_place),
        cmocka_unit_test(what_a_worker_left_half_told_does_not_count_for_ever),
        cmocka_unit_test(nothing_is_told_twice_or_for_another),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

#include "common/limit_table.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <random>
#include <thread>
#include <vector>

#include "t/unit/cmocka.hpp"

using namespace sluice;

static constexpr uint64_t kMs = 1000 * 1000;
static constexpr uint64_t kSecond = 1000 * kMs;
static constexpr uint64_t kStart = 1000 * kSecond;
static constexpr uint64_t kBurst = 10;
static constexpr size_t kLine = 64;
static constexpr uint8_t kSeed[kSipKeyBytes] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

static const GcraLimit kTenASecond(10, kSecond, kBurst, 0);

struct alignas(kLine) Line {
    uint64_t words[kLine / sizeof(uint64_t)];
};

// A table in memory of its own.
class Owned {
  public:
    explicit Owned(size_t bytes) : lines_(bytes / kLine), bytes_(bytes) {
        assert_true(LimitTable::create(lines_.data(), bytes, kSeed));
    }
    LimitTable table() { return LimitTable::attach(lines_.data(), bytes_); }
    uint64_t* words() { return lines_.front().words; }

  private:
    std::vector<Line> lines_;
    size_t bytes_;
};

static std::vector<uint64_t> make_keys(const LimitTable& table, size_t count) {
    std::vector<uint64_t> keys;
    for (size_t i = 0; i < count; i++) {
        keys.push_back(table.key("client " + std::to_string(i)));
    }
    return keys;
}

static bool passes(const LimitAnswer& answer) {
    return answer.judgement.verdict == Verdict::kPass;
}

static void assert_refused(const LimitAnswer& answer, uint64_t wait_ns, bool full) {
    assert_true(answer.judgement.verdict == Verdict::kRefuse);
    assert_true(answer.judgement.wait_ns == wait_ns);
    assert_true(answer.full == full);
}

static void only_a_table_of_this_size_is_attached(void**) {
    const size_t bytes = 16 * kLine;
    std::vector<Line> lines(bytes / kLine);
    auto* memory = reinterpret_cast<char*>(lines.data());
    assert_false(bool(LimitTable::attach(memory, bytes)));
    assert_false(LimitTable::create(memory, LimitTable::bytes_min() - 1, kSeed));
    assert_false(LimitTable::create(memory + 8, bytes - kLine, kSeed));
    assert_true(LimitTable::create(memory, bytes, kSeed));

    LimitTable table = LimitTable::attach(memory, bytes);
    assert_true(bool(table));
    assert_int_equal(table.slots(), 4 * (16 - 2));
    const uint64_t key = table.key("client");
    assert_true(passes(table.charge(key, kTenASecond, kStart, 1, WhenFull::kRefuse)));
    assert_int_equal(LimitTable::attach(memory, bytes).used_slots(kStart), 1);

    assert_false(bool(LimitTable::attach(memory, bytes - kLine)));
    assert_false(bool(LimitTable::attach(memory, bytes + kLine)));
    assert_false(bool(LimitTable::attach(memory + 8, bytes)));
    lines.front().words[0]++;
    assert_false(bool(LimitTable::attach(memory, bytes)));
}

static void the_seed_decides_where_keys_are(void**) {
    Owned one(LimitTable::bytes_min());
    std::vector<Line> other(LimitTable::bytes_min() / kLine);
    const uint8_t seed[kSipKeyBytes] = {1};
    assert_true(LimitTable::create(other.data(), LimitTable::bytes_min(), seed));
    const LimitTable table = LimitTable::attach(other.data(), LimitTable::bytes_min());
    assert_true(table.key("client") != one.table().key("client"));
    assert_true(table.key("client") == table.key("client"));
}

// As after a reload with a faster rate: whoever asks is let in again when the new limit says so.
static void what_a_slower_limit_left_is_healed_by_asking(void**) {
    const GcraLimit slow(1, 60 * kSecond, kBurst, 0);
    Owned owned(LimitTable::bytes_min());
    LimitTable table = owned.table();
    const uint64_t key = table.key("client");
    assert_true(passes(table.charge(key, slow, kStart, kBurst, WhenFull::kRefuse)));
    assert_refused(table.check(key, kTenASecond, kStart, 1), kSecond / 10, false);
    assert_true(passes(table.check(key, kTenASecond, kStart + kSecond / 10, 1)));
}

// Charges, checks and gifts at random, while time passes, against exact words that are never lost.
static void it_is_as_exact_as_a_map(void**) {
    const GcraLimit limits[] = {kTenASecond, GcraLimit(3, kSecond, 1, 2 * kSecond)};
    for (const GcraLimit& limit : limits) {
        Owned owned(64 * 1024);
        LimitTable table = owned.table();
        const std::vector<uint64_t> keys = make_keys(table, 1000);
        std::map<uint64_t, uint64_t> words;
        std::mt19937_64 random(1);
        uint64_t now_ns = kStart;
        size_t admitted = 0;
        size_t refused = 0;
        for (int i = 0; i < 100000; i++) {
            now_ns += random() % (random() % 1000 == 0 ? 10 * kSecond : kMs);
            const uint64_t key = keys[random() % (random() % 4 == 0 ? keys.size() : 10)];
            const uint64_t n = random() % 4;
            uint64_t& word = words[key];
            const Judgement expected = limit.judge(word, now_ns, n);
            const LimitAnswer checked = table.check(key, limit, now_ns, n);
            const LimitAnswer charged = table.charge(key, limit, now_ns, n, WhenFull::kRefuse);
            for (const Judgement& judged : {checked.judgement, charged.judgement}) {
                assert_true(judged.verdict == expected.verdict);
                assert_true(judged.wait_ns == expected.wait_ns);
            }
            assert_true(limit.full_in_ns(checked.tat, now_ns) == limit.full_in_ns(word, now_ns));
            assert_false(charged.full || charged.evicted);
            (expected.admitted() ? admitted : refused)++;
            if (!expected.admitted()) {
                assert_true(limit.full_in_ns(charged.tat, now_ns) ==
                            limit.full_in_ns(word, now_ns));
                continue;
            }
            word = limit.spent(word, now_ns, n);
            assert_true(charged.tat == word);
            if (random() % 4 == 0) {
                const uint64_t later_ns = now_ns + random() % (200 * kMs);
                table.give_back(key, limit, charged.tat, later_ns, n);
                word = limit.given_back(word, word, later_ns, n);
            }
        }
        assert_true(admitted > 10000 && refused > 10000);
        size_t owing = 0;
        for (const auto& [key, word] : words) {
            owing += word > now_ns;
        }
        assert_int_equal(table.used_slots(now_ns), owing);
    }
}

static void a_word_is_raised_and_never_lowered(void**) {
    Owned owned(16 * kLine);
    LimitTable table = owned.table();
    const uint64_t key = table.key("client");
    table.raise(key, kStart, kStart + 500 * kMs, WhenFull::kRefuse);
    assert_true(table.check(key, kTenASecond, kStart, 5).judgement.admitted());
    assert_false(table.check(key, kTenASecond, kStart, 6).judgement.admitted());
    table.raise(key, kStart, kStart + 100 * kMs, WhenFull::kRefuse);
    assert_true(table.check(key, kTenASecond, kStart, 0).tat == kStart + 500 * kMs);
    assert_true(passes(table.charge(key, kTenASecond, kStart, 5, WhenFull::kRefuse)));
    table.raise(key, kStart, kStart + 1500 * kMs, WhenFull::kRefuse);
    assert_refused(table.charge(key, kTenASecond, kStart, 1, WhenFull::kRefuse), 600 * kMs, false);
    assert_int_equal(table.used_slots(kStart), 1);
}

static void what_can_never_pass_takes_no_slot(void**) {
    Owned owned(LimitTable::bytes_min());
    LimitTable table = owned.table();
    const uint64_t key = table.key("client");
    const LimitAnswer answer = table.charge(key, kTenASecond, kStart, kBurst + 1, WhenFull::kEvict);
    assert_true(answer.judgement.verdict == Verdict::kNever);
    assert_int_equal(table.used_slots(kStart), 0);
}

// The smallest table has the same 8 slots for every key. Key i owes i + 1 units.
static std::vector<uint64_t> fill(LimitTable* table) {
    std::vector<uint64_t> keys = make_keys(*table, 9);
    for (size_t i = 0; i < 8; i++) {
        assert_true(passes(table->charge(keys[i], kTenASecond, kStart, i + 1, WhenFull::kRefuse)));
    }
    assert_int_equal(table->used_slots(kStart), 8);
    return keys;
}

static void a_closed_table_that_is_full_turns_newcomers_away(void**) {
    Owned owned(LimitTable::bytes_min());
    LimitTable table = owned.table();
    const std::vector<uint64_t> keys = fill(&table);
    const uint64_t wait_ns = kTenASecond.cost_ns(1);
    assert_refused(table.charge(keys[8], kTenASecond, kStart, 1, WhenFull::kRefuse), wait_ns, true);
    for (size_t i = 0; i < 8; i++) {
        const LimitAnswer known = table.check(keys[i], kTenASecond, kStart, 1);
        assert_true(kTenASecond.remaining(known.tat, kStart) == kBurst - i - 1);
    }
    assert_refused(table.charge(keys[8], kTenASecond, kStart + wait_ns - 1, 1, WhenFull::kRefuse),
                   1, true);
    const LimitAnswer then =
        table.charge(keys[8], kTenASecond, kStart + wait_ns, 1, WhenFull::kRefuse);
    assert_true(passes(then) && !then.evicted && !then.full);
    assert_int_equal(table.used_slots(kStart + wait_ns), 8);
}

static void an_open_table_that_is_full_forgets_who_owes_least(void**) {
    Owned owned(LimitTable::bytes_min());
    LimitTable table = owned.table();
    const std::vector<uint64_t> keys = fill(&table);
    const LimitAnswer answer = table.charge(keys[8], kTenASecond, kStart, 5, WhenFull::kEvict);
    assert_true(passes(answer) && answer.evicted && !answer.full);
    for (size_t i = 0; i < 9; i++) {
        const uint64_t owed = i == 0 ? 0 : i == 8 ? 5 : i + 1;
        const LimitAnswer known = table.check(keys[i], kTenASecond, kStart, 1);
        assert_true(kTenASecond.remaining(known.tat, kStart) == kBurst - owed);
    }
    assert_int_equal(table.used_slots(kStart), 8);
}

static void a_clock_that_went_back_is_forgiven(void**) {
    Owned owned(LimitTable::bytes_min());
    LimitTable table = owned.table();
    const uint64_t key = table.key("client");
    const uint64_t later_ns = kStart + 3600 * kSecond;
    assert_true(passes(table.charge(key, kTenASecond, later_ns, 3, WhenFull::kRefuse)));
    assert_refused(table.charge(key, kTenASecond, kStart, 1, WhenFull::kRefuse), 100 * kMs, false);
    assert_true(passes(table.charge(key, kTenASecond, kStart + 100 * kMs, 1, WhenFull::kRefuse)));
}

// Every state in which a worker can die while it takes a slot, as limit_table.hpp lists them, and
// words that no worker has ever written.
static void what_the_dead_left_behind_is_in_nobodys_way(void**) {
    constexpr uint64_t kTicketAndClaim = (1 << 24) - 1;
    constexpr uint64_t kReserved = uint64_t{1} << 63;
    std::mt19937_64 random(2);
    for (int round = 0; round < 3000; round++) {
        Owned owned(LimitTable::bytes_min());
        LimitTable table = owned.table();
        const std::vector<uint64_t> keys = make_keys(table, 8);
        uint64_t* slots = owned.words() + (LimitTable::bytes_min() - 2 * kLine) / sizeof(uint64_t);
        for (size_t i = 0; i < 8; i++) {
            const uint64_t ticket = 1000000 + 2 * i;
            const uint64_t key = keys[random() % keys.size()] & ~kTicketAndClaim;
            const uint64_t tags[] = {0, key | ticket << 1, key | ticket << 1 | 1};
            const uint64_t words[] = {kReserved | ticket << 1, kReserved | (ticket + 1) << 1,
                                      kStart, UINT64_MAX};
            slots[2 * i] = tags[random() % 3];
            slots[2 * i + 1] = words[random() % 4];
        }
        assert_int_equal(table.used_slots(kStart), 0);
        for (uint64_t key : keys) {
            uint64_t passed = 0;
            while (passes(table.charge(key, kTenASecond, kStart, 1, WhenFull::kRefuse))) {
                passed++;
            }
            assert_true(passed == kBurst);
        }
        assert_int_equal(table.used_slots(kStart), keys.size());
    }
}

static void a_million_keys_do_little_harm_to_a_small_table(void**) {
    constexpr size_t kKeys = 1000000;
    for (WhenFull when_full : {WhenFull::kRefuse, WhenFull::kEvict}) {
        Owned owned(1024 * 1024);
        LimitTable table = owned.table();
        size_t passed = 0;
        size_t full = 0;
        size_t evicted = 0;
        for (size_t i = 0; i < kKeys; i++) {
            const std::string_view text(reinterpret_cast<const char*>(&i), sizeof(i));
            const LimitAnswer answer =
                table.charge(table.key(text), kTenASecond, kStart, 1, when_full);
            passed += passes(answer);
            full += answer.full;
            evicted += answer.evicted;
        }
        const size_t used = table.used_slots(kStart);
        assert_true(used > table.slots() * 99 / 100);
        assert_int_equal(passed + full, kKeys);
        assert_int_equal(passed - evicted, used);
        assert_true(when_full == WhenFull::kEvict ? full == 0 : evicted == 0);
    }
}

// Hardly anybody finds both lines full before the table is: what the choice between two is for.
static void keys_spread_evenly(void**) {
    Owned owned(1024 * 1024);
    LimitTable table = owned.table();
    size_t full = 0;
    for (uint64_t key : make_keys(table, table.slots() * 6 / 10)) {
        full += table.charge(key, kTenASecond, kStart, 1, WhenFull::kRefuse).full;
    }
    assert_true(full < table.slots() / 1000);
}

// Keeps the workers in step; they differ by no more than one phase.
class Barrier {
  public:
    explicit Barrier(unsigned workers) : workers_(workers) {}
    void wait() {
        const unsigned phase = phase_.load();
        if (arrived_.fetch_add(1) + 1 == workers_) {
            arrived_.store(0);
            phase_.store(phase + 1);
            return;
        }
        while (phase_.load() == phase) {
            std::this_thread::yield();
        }
    }

  private:
    unsigned workers_;
    std::atomic<unsigned> arrived_{0};
    std::atomic<unsigned> phase_{0};
};

static constexpr unsigned kWorkers = 8;
static constexpr unsigned kPhases = 1500;
static constexpr unsigned kKeysAPhase = 6;

// Time stands still in a phase, in which all workers charge the same 6 keys in 8 slots; the entries
// of the phase before have expired, so every phase begins with a fight for slots. Some of what was
// charged is given back at once. What is kept of each key must be the burst, exactly.
static void workers_admit_one_burst_among_them(void**) {
    Owned owned(LimitTable::bytes_min());
    const std::vector<uint64_t> keys = make_keys(owned.table(), 24);
    std::vector<std::atomic<uint64_t>> kept(keys.size());
    std::atomic<unsigned> mistakes{0};
    Barrier barrier(kWorkers);
    auto work = [&](unsigned worker) {
        LimitTable table = owned.table();
        std::mt19937_64 random(worker);
        for (unsigned phase = 0; phase < kPhases; phase++) {
            const uint64_t now_ns = kStart + phase * 100 * kSecond;
            const size_t first = std::mt19937_64(phase)() % (keys.size() - kKeysAPhase);
            barrier.wait();
            for (int i = 0; i < 40; i++) {
                const size_t index = first + random() % kKeysAPhase;
                const LimitAnswer answer =
                    table.charge(keys[index], kTenASecond, now_ns, 1, WhenFull::kRefuse);
                mistakes += answer.full || answer.evicted;
                if (passes(answer)) {
                    kept[index]++;
                    if (random() % 4 == 0) {
                        kept[index]--;
                        table.give_back(keys[index], kTenASecond, answer.tat, now_ns, 1);
                    }
                }
            }
            barrier.wait();
            if (worker != 0) {
                continue;
            }
            for (size_t i = first; i < first + kKeysAPhase; i++) {
                while (passes(table.charge(keys[i], kTenASecond, now_ns, 1, WhenFull::kRefuse))) {
                    kept[i]++;
                }
                mistakes += kept[i].exchange(0) != kBurst;
            }
            mistakes += table.used_slots(now_ns) != kKeysAPhase;
        }
    };
    std::vector<std::thread> workers;
    for (unsigned worker = 0; worker < kWorkers; worker++) {
        workers.emplace_back(work, worker);
    }
    for (std::thread& worker : workers) {
        worker.join();
    }
    assert_int_equal(mistakes.load(), 0);
}

// Three times as many keys as slots: every burst beyond the first was paid for by an eviction.
static void workers_that_evict_each_other_stay_bounded(void**) {
    Owned owned(LimitTable::bytes_min());
    const std::vector<uint64_t> keys = make_keys(owned.table(), 24);
    std::atomic<uint64_t> admitted{0};
    std::atomic<uint64_t> evicted{0};
    auto work = [&](unsigned worker) {
        LimitTable table = owned.table();
        std::mt19937_64 random(worker);
        for (unsigned i = 0; i < 20000; i++) {
            const LimitAnswer answer = table.charge(keys[random() % keys.size()], kTenASecond,
                                                    kStart, 1, WhenFull::kEvict);
            admitted += answer.judgement.admitted();
            evicted += answer.evicted;
        }
    };
    std::vector<std::thread> workers;
    for (unsigned worker = 0; worker < kWorkers; worker++) {
        workers.emplace_back(work, worker);
    }
    for (std::thread& worker : workers) {
        worker.join();
    }
    assert_true(evicted > 1000);
    assert_true(admitted <= (keys.size() + evicted) * kBurst);
}

struct Shared {
    std::atomic<uint64_t> charges;
    std::atomic<uint64_t> admitted[kKeysAPhase];
    alignas(kLine) char memory[5 * kLine];
};

[[noreturn]] static void charge_until_killed(Shared* shared, uint64_t now_ns, unsigned seed) {
    LimitTable table = LimitTable::attach(shared->memory, LimitTable::bytes_min());
    const std::vector<uint64_t> keys = make_keys(table, kKeysAPhase);
    for (std::mt19937_64 random(seed);;) {
        const size_t index = random() % keys.size();
        const LimitAnswer answer =
            table.charge(keys[index], kTenASecond, now_ns, 1, WhenFull::kRefuse);
        if (passes(answer)) {
            shared->admitted[index]++;
        }
        shared->charges++;
    }
}

// Each death may have left behind one charge that was never used, and nothing else. Time stands
// still while the children live, and in the next round everybody's burst is there again.
static void killed_workers_leave_one_charge_each(void**) {
    constexpr unsigned kChildren = 3;
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    auto* shared = new (memory) Shared{};
    assert_true(LimitTable::bytes_min() <= sizeof(shared->memory));
    assert_true(LimitTable::create(shared->memory, LimitTable::bytes_min(), kSeed));
    LimitTable table = LimitTable::attach(shared->memory, LimitTable::bytes_min());
    const std::vector<uint64_t> keys = make_keys(table, kKeysAPhase);
    std::mt19937_64 random(4);
    for (unsigned round = 0; round < 200; round++) {
        const uint64_t now_ns = kStart + round * 100 * kSecond;
        shared->charges = 0;
        std::vector<pid_t> children;
        for (unsigned child = 0; child < kChildren; child++) {
            const pid_t pid = fork();
            assert_true(pid >= 0);
            if (pid == 0) {
                charge_until_killed(shared, now_ns, round * kChildren + child);
            }
            children.push_back(pid);
        }
        for (const uint64_t charges = 1 + random() % 100; shared->charges < charges;) {
            std::this_thread::yield();
        }
        for (pid_t pid : children) {
            kill(pid, SIGKILL);
            assert_int_equal(waitpid(pid, nullptr, 0), pid);
        }
        uint64_t admitted = 0;
        for (size_t i = 0; i < keys.size(); i++) {
            uint64_t of_key = shared->admitted[i].exchange(0);
            while (passes(table.charge(keys[i], kTenASecond, now_ns, 1, WhenFull::kRefuse))) {
                of_key++;
            }
            assert_true(of_key <= kBurst);
            admitted += of_key;
        }
        assert_true(admitted + kChildren >= keys.size() * kBurst);
        assert_int_equal(table.used_slots(now_ns), keys.size());
    }
    munmap(memory, sizeof(Shared));
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(only_a_table_of_this_size_is_attached),
        cmocka_unit_test(the_seed_decides_where_keys_are),
        cmocka_unit_test(what_a_slower_limit_left_is_healed_by_asking),
        cmocka_unit_test(it_is_as_exact_as_a_map),
        cmocka_unit_test(a_word_is_raised_and_never_lowered),
        cmocka_unit_test(what_can_never_pass_takes_no_slot),
        cmocka_unit_test(a_closed_table_that_is_full_turns_newcomers_away),
        cmocka_unit_test(an_open_table_that_is_full_forgets_who_owes_least),
        cmocka_unit_test(a_clock_that_went_back_is_forgiven),
        cmocka_unit_test(what_the_dead_left_behind_is_in_nobodys_way),
        cmocka_unit_test(a_million_keys_do_little_harm_to_a_small_table),
        cmocka_unit_test(keys_spread_evenly),
        cmocka_unit_test(killed_workers_leave_one_charge_each),
        cmocka_unit_test(workers_admit_one_burst_among_them),
        cmocka_unit_test(workers_that_evict_each_other_stay_bounded),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

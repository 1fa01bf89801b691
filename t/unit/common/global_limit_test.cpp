#include "common/global_limit.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "t/sim/chance.hpp"
#include "t/unit/cmocka.hpp"

using namespace sluice;
using sim::Chance;

static constexpr uint64_t kMs = 1000 * 1000;
static constexpr uint64_t kSecond = 1000 * kMs;
static constexpr uint64_t kStart = 1000 * kSecond;
// Tables tell keys apart by their upper bits.
static constexpr uint64_t kKey = uint64_t{7} << 40;
static constexpr uint64_t kNever = UINT64_MAX;

struct Shape {
    uint64_t rate, burst, delay_ms;
};

// A unit is a whole number of ns, so that what is allowed can be compared exactly.
static const Shape kShapes[] = {
    {100, 100, 0}, {100, 20, 0}, {10, 50, 0}, {1, 3, 0}, {1000, 10, 0}, {100, 20, 300}, {10, 1, 0},
};

static GcraLimit make_limit(const Shape& shape) {
    const uint64_t delay_ns = shape.delay_ms * kMs;
    const GcraLimit alone(shape.rate, kSecond, shape.burst, delay_ns);
    return GcraLimit(shape.rate, kSecond, shape.burst, delay_ns,
                     GlobalLimit::owed_max_ns(alone, GlobalLimit::kEdgesMax));
}

// The place that the edges share: Redis, and the script it runs.
struct Place {
    std::map<uint64_t, uint64_t> tats_us;
    std::map<size_t, uint64_t> edges_us;

    uint64_t tell(uint64_t name, uint64_t now_us, uint64_t us) {
        uint64_t& tat = tats_us[name];
        tat = std::max(tat, now_us) + us;
        return tat - now_us;
    }
    uint64_t meet(size_t edge, uint64_t now_us) {
        edges_us[edge] = now_us;
        uint64_t alive = 0;
        for (const auto& [id, seen_us] : edges_us) {
            alive += seen_us + 10 * 1000 * 1000 >= now_us;
        }
        return alive;
    }
};

// An edge with its memory, of which one worker tells.
class Edge {
  public:
    Edge(size_t id, uint64_t clock_ns)
        : id_(id),
          clock_ns_(clock_ns),
          table_memory_(4096 / 64),
          hot_memory_(HotKeys::bytes_in(4096) / sizeof(uint64_t)) {
        static constexpr uint8_t seed[kSipKeyBytes] = {};
        assert_true(LimitTable::create(table_memory_.data(), 4096, seed));
        const LimitTable table = LimitTable::attach(table_memory_.data(), 4096);
        HotKeys::create(hot_memory_.data(), HotKeys::bytes_in(4096));
        const HotKeys hot = HotKeys::attach(hot_memory_.data(), HotKeys::bytes_in(4096));
        limit_ = GlobalLimit(table, hot);
        teller_ = GlobalTeller(table, hot, WhenFull::kEvict);
    }

    Verdict charge(const GcraLimit& limit, uint64_t now_ns, uint64_t n) {
        const uint64_t now = now_ns + clock_ns_;
        const LimitAnswer asked = limit_.check(kKey, limit, now, n, edges(now_ns));
        const LimitAnswer charged =
            limit_.charge(kKey, 70, limit, now, n, WhenFull::kEvict, edges(now_ns));
        assert_true(asked.judgement.verdict == charged.judgement.verdict);
        return charged.judgement.verdict;
    }

    Edges edges(uint64_t now_ns) const { return {alive_, heard_ns_ + kSecond >= now_ns}; }

    // Sends what there is to tell, or that it lives; false if there is nothing to say.
    bool call(uint64_t now_ns, uint64_t arrives_ns, uint64_t replied_ns) {
        count_ = teller_.next();
        if (count_ == 0 && now_ns < last_call_ns_ + kSecond / 2) {
            return false;
        }
        last_call_ns_ = now_ns;
        arrives_ns_ = arrives_ns;
        replied_ns_ = replied_ns;
        overdue_ns_ = now_ns + kSecond;
        return true;
    }
    bool tick(uint64_t now_ns, uint64_t arrives_ns, uint64_t replied_ns) {
        teller_.begin();
        return call(now_ns, arrives_ns, replied_ns);
    }
    bool calling() const { return overdue_ns_ != kNever; }

    void arrive(uint64_t now_ns, Place* place) {
        if (now_ns < arrives_ns_) {
            return;
        }
        arrives_ns_ = kNever;
        told_edges_ = place->meet(id_, now_ns / 1000);
        for (size_t i = 0; i < count_; i++) {
            debts_[i] = place->tell(teller_.telling(i).name, now_ns / 1000, teller_.telling(i).us);
        }
    }

    bool replied(uint64_t now_ns) {
        if (now_ns < replied_ns_) {
            return false;
        }
        for (size_t i = 0; i < count_; i++) {
            teller_.learned(i, debts_[i], now_ns + clock_ns_);
        }
        end();
        alive_ = told_edges_;
        heard_ns_ = now_ns;
        return true;
    }

    // True if something was told of which nobody knows whether it arrived.
    bool overdue(uint64_t now_ns) {
        if (!calling() || now_ns < overdue_ns_) {
            return false;
        }
        end();
        return count_ != 0;
    }

    uint64_t next_tick_ns = 0;

  private:
    struct alignas(64) Line {
        uint64_t words[8];
    };

    void end() {
        teller_.done();
        arrives_ns_ = replied_ns_ = overdue_ns_ = kNever;
    }

    size_t id_;
    uint64_t clock_ns_;
    std::vector<Line> table_memory_;
    std::vector<uint64_t> hot_memory_;
    GlobalLimit limit_;
    GlobalTeller teller_;
    uint64_t alive_ = 1;
    uint64_t heard_ns_ = 0;
    uint64_t last_call_ns_ = 0;
    uint64_t arrives_ns_ = kNever;
    uint64_t replied_ns_ = kNever;
    uint64_t overdue_ns_ = kNever;
    size_t count_ = 0;
    uint64_t told_edges_ = 1;
    uint64_t debts_[GlobalTeller::kKeysMax] = {};
};

// What can go wrong in a run.
struct Faults {
    unsigned calls_lost_percent = 0;
    bool state_lost = false;
    bool away = false;
    bool edges_come_and_go = false;
    uint64_t delay_max_ns = 50 * kMs;
};

class Run {
  public:
    Run(const Shape& shape, size_t edges, const Faults& faults, uint64_t seed)
        : chance_(seed), limit_(make_limit(shape)), faults_(faults), believed_(edges) {
        for (size_t i = 0; i < edges; i++) {
            edges_.push_back(make_edge());
            place_.meet(i, kStart / 1000);
        }
        let_see(2 * kSecond);
    }

    // Without requests, so that all know each other.
    void let_see(uint64_t ns) {
        for (const uint64_t end = now_ns_ + ns; now_ns_ < end;) {
            step(kMs);
        }
    }

    void step(uint64_t ns) {
        now_ns_ += ns;
        if (faults_.state_lost && chance_.one_in(5000)) {
            place_.tats_us.clear();
            beyond_ns_ += whole_bound_ns();
        }
        if (faults_.away && chance_.one_in(5000)) {
            away_until_ns_ = now_ns_ + chance_.below(4 * kSecond);
        }
        if (faults_.edges_come_and_go && chance_.one_in(3000)) {
            std::swap(edges_[chance_.below(edges_.size())], edges_.back());
            edges_.back() = make_edge();
            beyond_ns_ += 2 * untold_max_ns();
        }
        for (auto& edge : edges_) {
            step(edge.get());
        }
    }

    uint64_t request(size_t edge, uint64_t n) {
        const Verdict verdict = edges_[edge]->charge(limit_, now_ns_, n);
        refused_ += verdict == Verdict::kRefuse;
        if (verdict > Verdict::kWait) {
            return 0;
        }
        if (whole_ns_ < now_ns_) {
            whole_ns_ = now_ns_;
            beyond_ns_ = 0;
        }
        whole_ns_ += limit_.cost_ns(n);
        if (!edges_[edge]->edges(now_ns_).heard) {
            beyond_ns_ += limit_.cost_ns(n);
        }
        admitted_ += n;
        const uint64_t owed = whole_ns_ - now_ns_;
        most_owed_ns_ = std::max(most_owed_ns_, owed);
        if (owed > whole_bound_ns() + beyond_ns_) {
            fail_msg("owed %lu ms, bound %lu ms + %lu ms", owed / kMs, whole_bound_ns() / kMs,
                     beyond_ns_ / kMs);
        }
        return n;
    }

    uint64_t untold_max_ns() const { return GlobalLimit::untold_max_ns(limit_, believed_); }
    uint64_t whole_bound_ns() const {
        return limit_.burst_ns() + limit_.delay_ns() + GlobalLimit::kSlackNs +
               (edges_.size() - 1) * untold_max_ns();
    }

    // As the clients like: all at once, one after the other, or with pauses.
    void hammer(uint64_t ns) {
        const uint64_t end = now_ns_ + ns;
        while (now_ns_ < end) {
            const uint64_t most = limit_.remaining(0, now_ns_) / edges_.size() + 1;
            const uint64_t style = chance_.below(4);
            const uint64_t only = chance_.below(edges_.size());
            for (const uint64_t until = now_ns_ + chance_.below(2 * kSecond); now_ns_ < until;) {
                for (size_t e = 0; e < edges_.size(); e++) {
                    if (style == 1 && e != only) {
                        continue;
                    }
                    const uint64_t n = chance_.one_in(8) ? 1 + chance_.below(most) : 1;
                    while (request(e, n) != 0) {}
                }
                step(chance_.below(3) * kMs);
            }
            if (style == 3) {
                let_see(chance_.below(3 * kSecond));
            }
        }
    }

    Chance& chance() { return chance_; }
    const GcraLimit& limit() const { return limit_; }
    uint64_t now_ns() const { return now_ns_; }
    uint64_t admitted() const { return admitted_; }
    uint64_t refused() const { return refused_; }
    uint64_t most_owed_ns() const { return most_owed_ns_; }
    Edge& edge(size_t i) { return *edges_[i]; }

  private:
    std::unique_ptr<Edge> make_edge() {
        return std::make_unique<Edge>(edges_made_++, chance_.below(100 * kSecond));
    }

    void step(Edge* edge) {
        const bool away = now_ns_ < away_until_ns_;
        if (!away) {
            edge->arrive(now_ns_, &place_);
            if (edge->replied(now_ns_)) {
                call(edge, false);
            }
        }
        if (edge->overdue(now_ns_)) {
            beyond_ns_ += untold_max_ns();
        }
        if (now_ns_ >= edge->next_tick_ns) {
            edge->next_tick_ns = now_ns_ + GlobalLimit::kIntervalNs;
            if (!edge->calling()) {
                call(edge, true);
            }
        }
    }

    void call(Edge* edge, bool tick) {
        const uint64_t way = chance_.below(faults_.delay_max_ns / 2);
        const uint64_t back = chance_.below(faults_.delay_max_ns / 2);
        const uint64_t fate = chance_.below(100);
        const bool lost = fate < faults_.calls_lost_percent;
        const uint64_t arrives = lost && fate % 2 == 0 ? kNever : now_ns_ + way;
        const uint64_t replied = lost ? kNever : now_ns_ + way + back;
        (void)(tick ? edge->tick(now_ns_, arrives, replied)
                    : edge->call(now_ns_, arrives, replied));
    }

    Chance chance_;
    GcraLimit limit_;
    Faults faults_;
    uint64_t believed_;
    uint64_t now_ns_ = kStart;
    uint64_t away_until_ns_ = 0;
    Place place_;
    std::vector<std::unique_ptr<Edge>> edges_;
    size_t edges_made_ = 0;
    uint64_t whole_ns_ = 0;  // the word, had all told at once
    uint64_t beyond_ns_ = 0;
    uint64_t admitted_ = 0;
    uint64_t refused_ = 0;
    uint64_t most_owed_ns_ = 0;
};

static void all_admit_no_more_than_the_bound(void**) {
    double tightest = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        for (size_t edges = 1; edges <= 8; edges++) {
            const Shape& shape = kShapes[seed % std::size(kShapes)];
            Faults faults;
            // However late: up to half of what it takes until the place counts as away.
            faults.delay_max_ns = (seed % 3 == 0 ? 50 : seed % 3 == 1 ? 5 : 450) * kMs;
            Run run(shape, edges, faults, seed * 100 + edges);
            run.hammer(10 * kSecond);
            tightest = std::max(tightest, static_cast<double>(run.most_owed_ns()) /
                                              static_cast<double>(run.whole_bound_ns()));
        }
    }
    print_message("the most that was owed is %.2f of the bound\n", tightest);
    assert_true(tightest > 0.8);
}

static void faults_cost_what_is_stated(void**) {
    for (uint64_t seed = 1; seed <= 100; seed++) {
        Faults faults;
        faults.calls_lost_percent = seed % 2 ? 20 : 0;
        faults.state_lost = seed % 3 == 0;
        faults.away = seed % 5 == 0;
        faults.edges_come_and_go = seed % 7 == 0;
        Run run(kShapes[seed % std::size(kShapes)], 1 + seed % 8, faults, seed);
        run.hammer(20 * kSecond);
    }
}

// The bound is not kept by refusing everybody.
static void who_sends_all_the_time_gets_the_rate(void**) {
    for (size_t edges = 1; edges <= 8; edges++) {
        for (const Shape& shape : kShapes) {
            Run run(shape, edges, Faults{}, edges);
            const uint64_t seconds = 30;
            for (const uint64_t end = run.now_ns() + seconds * kSecond; run.now_ns() < end;) {
                for (size_t e = 0; e < edges; e++) {
                    while (run.request(e, 1) != 0) {}
                }
                run.step(5 * kMs);
            }
            assert_true(run.admitted() * 10 >= shape.rate * seconds * 9);
        }
    }
}

static void who_keeps_to_his_share_of_the_burst_is_never_refused(void**) {
    for (uint64_t seed = 1; seed <= 100; seed++) {
        const Shape& shape = kShapes[seed % std::size(kShapes)];
        const size_t edges = 1 + seed % 8;
        const uint64_t burst = shape.burst / edges;
        if (burst == 0) {
            continue;
        }
        Run run(shape, edges, Faults{}, seed);
        // What he allows himself.
        const GcraLimit own(shape.rate, kSecond, burst, 0);
        uint64_t tat = 0;
        for (const uint64_t end = run.now_ns() + 30 * kSecond; run.now_ns() < end;) {
            const uint64_t style = run.chance().below(3);
            for (const uint64_t until = run.now_ns() + kSecond; run.now_ns() < until;) {
                const uint64_t n = 1 + run.chance().below(style == 0 ? burst : 1);
                while (style != 2 && own.judge(tat, run.now_ns(), n).admitted()) {
                    tat = own.spent(tat, run.now_ns(), n);
                    assert_true(run.request(0, n) == n);
                }
                run.step(run.chance().below(4) * kMs);
            }
        }
        assert_true(run.refused() == 0);
    }
}

static void while_the_place_is_away_each_has_its_share(void**) {
    const Shape shape{100, 80, 0};
    Faults faults;
    for (size_t edges : {1, 2, 4, 8}) {
        Run run(shape, edges, faults, edges);
        Edge& edge = run.edge(0);
        const uint64_t away = run.now_ns() + 10 * kSecond;
        const Edges last = edge.edges(away);
        assert_true(last.alive == edges && !last.heard);
        const uint64_t most = std::min(shape.burst / edges + shape.rate / 5, shape.burst);
        // Too much for now, or for ever: while an edge is started anew nobody may be told the latter.
        assert_true(edge.charge(run.limit(), away, most + 1) ==
                    (edges == 1 ? Verdict::kNever : Verdict::kRefuse));
        assert_true(edge.charge(run.limit(), away, shape.burst + 1) == Verdict::kNever);
        uint64_t admitted = 0;
        while (edge.charge(run.limit(), away, 1) == Verdict::kPass) {
            admitted++;
        }
        assert_true(admitted == most);
        const uint64_t later = away + 8 * kSecond;
        for (uint64_t now = away; now < later; now += kMs) {
            admitted += edge.charge(run.limit(), now, 1) == Verdict::kPass;
        }
        assert_in_range(admitted, most + 8 * shape.rate / edges - 2, most + 8 * shape.rate / edges);
    }
}

static void what_is_given_back_is_not_told(void**) {
    alignas(64) static uint8_t table_memory[4096];
    alignas(64) static uint8_t hot_memory[512];
    static constexpr uint8_t seed[kSipKeyBytes] = {};
    assert_true(LimitTable::create(table_memory, sizeof(table_memory), seed));
    HotKeys::create(hot_memory, sizeof(hot_memory));
    HotKeys hot = HotKeys::attach(hot_memory, sizeof(hot_memory));
    GlobalLimit global(LimitTable::attach(table_memory, sizeof(table_memory)), hot);
    const GcraLimit limit = make_limit({10, 10, 0});
    const Edges edges{2, true};
    const LimitAnswer answer = global.charge(kKey, 70, limit, kStart, 5, WhenFull::kEvict, edges);
    assert_true(answer.judgement.admitted() && hot.untold_ns(kKey) == 500 * kMs);
    global.give_back(kKey, limit, answer.tat, kStart, 3);
    assert_true(hot.untold_ns(kKey) == 200 * kMs);
    assert_true(limit.remaining(global.check(kKey, limit, kStart, 1, edges).tat, kStart) == 8);
}

static void a_key_for_which_there_is_no_room_has_its_share(void**) {
    alignas(64) static uint8_t table_memory[4096];
    alignas(64) static uint8_t hot_memory[256];
    static constexpr uint8_t seed[kSipKeyBytes] = {};
    assert_true(LimitTable::create(table_memory, sizeof(table_memory), seed));
    HotKeys::create(hot_memory, sizeof(hot_memory));
    GlobalLimit global(LimitTable::attach(table_memory, sizeof(table_memory)),
                       HotKeys::attach(hot_memory, sizeof(hot_memory)));
    const GcraLimit limit = make_limit({10, 40, 0});
    const Edges edges{4, true};
    for (uint64_t key = kKey; key <= 9 * kKey; key += kKey) {
        uint64_t admitted = 0;
        while (global.charge(key, key, limit, kStart, 1, WhenFull::kEvict, edges)
                   .judgement.admitted()) {
            admitted++;
        }
        assert_int_equal(admitted, key == 9 * kKey ? 10 : 12);
    }
    // Those in the list wait to be told, the ninth for its share.
    const uint64_t later = kStart + kSecond;
    const LimitAnswer told = global.check(8 * kKey, limit, later, 1, edges);
    const LimitAnswer shared = global.charge(9 * kKey, 9, limit, later, 5, WhenFull::kEvict, edges);
    assert_true(told.judgement.verdict == Verdict::kRefuse);
    assert_true(told.judgement.wait_ns == GlobalLimit::kIntervalNs);
    assert_true(shared.judgement.verdict == Verdict::kRefuse);
    assert_true(shared.judgement.wait_ns == 200 * kMs);
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(all_admit_no_more_than_the_bound),
        cmocka_unit_test(faults_cost_what_is_stated),
        cmocka_unit_test(who_sends_all_the_time_gets_the_rate),
        cmocka_unit_test(who_keeps_to_his_share_of_the_burst_is_never_refused),
        cmocka_unit_test(while_the_place_is_away_each_has_its_share),
        cmocka_unit_test(what_is_given_back_is_not_told),
        cmocka_unit_test(a_key_for_which_there_is_no_room_has_its_share),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

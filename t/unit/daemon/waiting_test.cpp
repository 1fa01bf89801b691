// What waits is told without reading it, whatever came first and however it is drained.
#include "daemon/load/waiting.hpp"

#include <cstdlib>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

constexpr uint64_t kRowBytes = 100;

// A stream of which only the numbers are known, and a group that is given its oldest entries.
class Stream {
  public:
    // So many entries in so many milliseconds; with `other`, one in ten holds so many records.
    void add(uint64_t entries, uint64_t ms, uint64_t records, uint64_t other = 0) {
        for (uint64_t i = 0; i < entries; ++i) {
            const StreamId id = {now_ms_ + ms * i / entries, entries_.size()};
            entries_.push_back({id, other != 0 && chance() ? other : records});
        }
        now_ms_ += ms;
    }
    void idle(uint64_t ms) { now_ms_ += ms; }
    void deliver(uint64_t entries) { delivered_ += entries; }

    // As the loader's core and sluiced status do it, this many times.
    void look(Waiting* waiting, int times = 1) const {
        StreamLength length;
        length.entries = entries_.size() - delivered_;  // the others are trimmed
        length.added = entries_.size();
        length.last_generated = entries_.empty() ? StreamId{} : entries_.back().id;
        const StreamId delivered = delivered_ == 0 ? StreamId{} : entries_[delivered_ - 1].id;
        for (int i = 0; i < times; ++i) {
            waiting->measured(length, delivered, length.entries);
            while (!waiting->places().empty()) {
                std::vector<EntrySample> found;
                for (const StreamId& place : waiting->places()) {
                    found.push_back(from(place, waiting->count()));
                }
                waiting->looked(found);
            }
        }
    }
    [[nodiscard]] EntrySample from(const StreamId& place, uint32_t count) const {
        EntrySample sample;
        for (size_t i = delivered_; i < entries_.size() && sample.entries < count; ++i) {
            if (!(entries_[i].id < place)) {
                const std::string rows(entries_[i].records * kRowBytes, 'x');
                Entry entry;
                entry.id = entries_[i].id;
                entry.frame.records = static_cast<uint32_t>(entries_[i].records);
                entry.frame.rows = rows;
                sample.add(entry);
            }
        }
        return sample;
    }
    [[nodiscard]] uint64_t records() const {
        uint64_t sum = 0;
        for (size_t i = delivered_; i < entries_.size(); ++i) {
            sum += entries_[i].records;
        }
        return sum;
    }

  private:
    bool chance() {
        random_ = random_ * 6364136223846793005U + 1442695040888963407U;
        return (random_ >> 33) % 10 == 0;
    }
    struct One {
        StreamId id;
        uint64_t records;
    };
    std::vector<One> entries_;
    size_t delivered_ = 0;
    uint64_t random_ = 1;
    uint64_t now_ms_ = 1731585600000;
};

void assert_about(const Stream& stream, const Waiting& waiting, double factor) {
    const auto real = static_cast<double>(stream.records());
    const Amount told = waiting.amount();
    if (static_cast<double>(told.records) > real * factor + 0.5 ||
        static_cast<double>(told.records) < real / factor - 0.5) {
        fail_msg("%.0f records wait, and %.0f are told", real, static_cast<double>(told.records));
    }
    const uint64_t bytes = told.records * kRowBytes;
    assert_in_range(told.bytes, bytes - std::min(bytes, kRowBytes), bytes + kRowBytes);
}

void nothing_waits(void**) {
    Stream stream;
    Waiting waiting;
    stream.look(&waiting);
    assert_true(waiting.places().empty());
    assert_int_equal(waiting.amount().records, 0);
    assert_int_equal(waiting.amount().bytes, 0);
    stream.add(10, 10, 3);
    stream.deliver(10);
    stream.look(&waiting);
    assert_true(waiting.places().empty());
    assert_int_equal(waiting.amount().records, 0);
}

void what_comes_later_is_of_another_size(void**) {
    for (const bool large_first : {false, true}) {
        Stream stream;
        Waiting waiting;
        stream.look(&waiting);
        stream.add(3000, 400, large_first ? 1000 : 1);
        stream.look(&waiting);
        assert_about(stream, waiting, 1.001);
        stream.idle(60000);
        stream.look(&waiting, 5);
        stream.add(300, 400, large_first ? 1 : 1000);
        stream.look(&waiting);
        assert_about(stream, waiting, 1.001);
        // It goes as it came, the oldest first.
        for (int i = 0; i < 33; ++i) {
            stream.deliver(100);
            stream.look(&waiting);
            assert_about(stream, waiting, 1.001);
        }
        assert_int_equal(waiting.amount().records, 0);
    }
}

void entries_of_all_sizes_are_mixed(void**) {
    Stream stream;
    Waiting waiting;
    stream.look(&waiting);
    for (int i = 0; i < 60; ++i) {
        stream.add(static_cast<uint64_t>(200 + 7 * i), 500, 1, 500);
        stream.look(&waiting);
    }
    assert_about(stream, waiting, 1.3);
}

// More than are told apart; what lies long behind is known as well as before.
void an_outage_of_hours_is_remembered_in_little_space(void**) {
    Stream stream;
    Waiting waiting;
    stream.look(&waiting);
    for (uint64_t i = 0; i < 20000; ++i) {
        stream.add(2, 500, i < 10000 ? 1 : 20);
        stream.look(&waiting);
    }
    assert_int_equal(waiting.parts(), Waiting::kPartsMax);
    assert_about(stream, waiting, 1.001);
    stream.deliver(15000);
    stream.look(&waiting);
    assert_about(stream, waiting, 1.05);
    stream.deliver(15000);
    stream.look(&waiting);
    assert_about(stream, waiting, 1.05);
}

void what_was_there_before_is_looked_at_in_many_places(void**) {
    for (const bool large_first : {false, true}) {
        Stream stream;
        stream.add(large_first ? 3000 : 30000, 60000, large_first ? 1000 : 10);
        stream.idle(5000);
        stream.add(large_first ? 30000 : 3000, 60000, large_first ? 10 : 1000);
        Waiting waiting;
        stream.look(&waiting);
        assert_about(stream, waiting, 1.3);
        // What comes now is not mixed up with it, and it is known while it goes.
        stream.add(1000, 500, 100);
        stream.look(&waiting);
        assert_about(stream, waiting, 1.3);
        for (int i = 0; i < 30; ++i) {
            stream.deliver(1000);
            stream.look(&waiting);
        }
        assert_about(stream, waiting, 1.3);
        stream.deliver(3000);
        stream.look(&waiting);
        assert_about(stream, waiting, 1.001);
    }
}

void what_may_not_be_looked_at_is_like_the_rest_or_one_record_each(void**) {
    StreamLength length;
    length.added = 70;
    length.last_generated = {7, 0};
    Waiting waiting;
    waiting.measured(length, {}, 70);
    waiting.looked({});
    assert_true(waiting.places().empty());
    assert_int_equal(waiting.amount().records, 70);
    assert_int_equal(waiting.amount().bytes, 0);
    length.added = 100;
    length.last_generated = {10, 0};
    waiting.measured(length, {}, 100);
    waiting.looked({{2, 10, 1000, {8, 0}, {9, 0}}});
    assert_int_equal(waiting.amount().records, 500);
    assert_int_equal(waiting.amount().bytes, 50000);
}

// The fewer the larger they are: what is looked at has a bound, but for the first time.
void large_entries_are_looked_at_few_at_a_time(void**) {
    const auto count_after = [](uint64_t records) {
        Stream stream;
        Waiting waiting;
        stream.add(100, 100, records);
        stream.look(&waiting);
        return waiting.count();
    };
    assert_int_equal(count_after(1), 8);
    assert_int_equal(count_after(100), 6);
    assert_int_equal(count_after(10000), 4);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(nothing_waits),
        cmocka_unit_test(what_comes_later_is_of_another_size),
        cmocka_unit_test(entries_of_all_sizes_are_mixed),
        cmocka_unit_test(an_outage_of_hours_is_remembered_in_little_space),
        cmocka_unit_test(what_was_there_before_is_looked_at_in_many_places),
        cmocka_unit_test(what_may_not_be_looked_at_is_like_the_rest_or_one_record_each),
        cmocka_unit_test(large_entries_are_looked_at_few_at_a_time),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// Devices of stored rows: the newest time of each, within bounds.
#include "daemon/load/device_set.hpp"

#include <map>
#include <random>
#include <string>

#include "daemon/load/copy_rows.hpp"
#include "frames.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

std::map<std::string, int64_t> times_of(const DeviceSet& set) {
    std::map<std::string, int64_t> times;
    for (size_t number = 0; number < set.size(); ++number) {
        assert_true(times.emplace(set.device(number), set.seen_ms(number)).second);
    }
    return times;
}

// Names of every length, many of which differ in one place only.
void the_newest_time_counts(void**) {
    std::mt19937 dice(1);
    std::map<std::string, int64_t> expected;
    DeviceSet set;
    for (int i = 0; i < 50000; ++i) {
        const size_t length = dice() % (2 * kDeviceIdBytesMax + 1);
        std::string device(length, 'a');
        if (length != 0) {
            device[dice() % length] = static_cast<char>('a' + dice() % 2);
        }
        const int64_t time = static_cast<int64_t>(dice() % 1000) - 500;
        set.saw(device, time);
        const auto [it, added] = expected.emplace(device, time);
        it->second = added ? time : std::max(it->second, time);
    }
    assert_true(times_of(set) == expected);
    assert_int_equal(set.left_out(), 0);
    assert_true(expected.size() > 4000);
}

void what_has_no_room_is_counted(void**) {
    DeviceSet set;
    const auto name = [](size_t number) { return "device-" + std::to_string(number); };
    for (size_t i = 0; i < DeviceSet::kDevicesMax + 50; ++i) {
        set.saw(name(i), 1);
    }
    set.saw(std::string(2 * kDeviceIdBytesMax + 1, 'x'), 1);
    assert_int_equal(set.size(), DeviceSet::kDevicesMax);
    assert_int_equal(set.left_out(), 51);
    // Those that are known are still followed.
    set.saw(name(7), 9);
    assert_int_equal(times_of(set).at(name(7)), 9);
    assert_int_equal(set.left_out(), 51);

    DeviceSet other;
    other.saw("one more", 1);
    other.saw(name(8), 10);
    other.add(set);
    assert_int_equal(other.size(), DeviceSet::kDevicesMax);
    assert_int_equal(times_of(other).at(name(8)), 10);
    assert_int_equal(times_of(other).at(name(7)), 9);
    assert_int_equal(other.left_out(), 52);

    set.clear();
    assert_true(set.empty());
    assert_int_equal(set.left_out(), 0);
    set.saw(name(7), 2);
    assert_int_equal(times_of(set).at(name(7)), 2);
}

void rows_that_are_copied_tell_their_devices(void**) {
    OwnedRows owner;
    Batch batch(0, 0);
    for (uint32_t i = 0; i < 3; ++i) {
        Entry entry = make_entry(&owner, {1, i}, i, 2, kNoonMs + i);
        entry.frame.rows = owner.add("pump\\\\7\tINFO\tm\t{}\t\\N\n" + std::string("fan-") +
                                     std::to_string(i) + "\tINFO\tm\t{}\t\\N\n");
        batch.add(entry);
    }
    batch.close();
    int64_t next = 1;
    assert_true(batch.assign_row_ids(&next, kRowIdBlock));
    batch.mark_fresh({1, 5});  // the second frame was stored before
    DeviceSet devices;
    CopyRows rows(batch, {1, 3}, &devices);
    std::string copied;
    while (rows.next_chunk(copied.size() + 1, &copied)) {}
    const std::map<std::string, int64_t> expected = {{"pump\\\\7", kNoonMs + 2},
                                                     {"fan-2", kNoonMs + 2}};
    assert_true(times_of(devices) == expected);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_time_counts),
        cmocka_unit_test(what_has_no_room_is_counted),
        cmocka_unit_test(rows_that_are_copied_tell_their_devices),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

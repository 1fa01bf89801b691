// The order in which rows are copied.
#include "daemon/load/batch_rows.hpp"

#include <random>
#include <string>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

std::string row_of(const std::string& device) {
    return device + "\tINFO\tmessage\t{}\t\\N\n";
}

std::string order_of(const BatchRows& rows) {
    std::string order;
    for (uint64_t row = 0; row < rows.size(); ++row) {
        order.append(order.empty() ? "" : " ").append(rows[row].device());
        order.append(":").append(std::to_string(rows[row].frame()));
        order.append(".").append(std::to_string(rows[row].position()));
    }
    return order;
}

void rows_go_by_device_and_else_as_they_came(void**) {
    const std::string first = row_of("pump-2") + row_of("pump-1") + row_of("pump-2");
    const std::string second = row_of("fan-1") + row_of("pump-1");
    BatchRows rows;
    rows.add(3, first);
    rows.add(5, second);
    rows.sort();
    assert_text_equal(order_of(rows), "fan-1:5.0 pump-1:3.1 pump-1:5.1 pump-2:3.0 pump-2:3.2");
    assert_text_equal(rows[0].text(), row_of("fan-1"));
    rows.clear();
    rows.sort();
    assert_int_equal(rows.size(), 0);
}

// What tells devices apart may lie anywhere in their names, or be how long they are; and a row need
// not have a device.
void names_differ_wherever_they_do(void**) {
    const std::string all = row_of("aaaaaaaaaaaaaaaaaaaa-b") + row_of("aaaaaaaaaaaaaaaaaaaa") +
                            row_of("aaaaaaaaaaaaaaaaaaaa-a") + row_of("aaaaaaaa") + row_of("") +
                            row_of("\xc3\xa4") + "none\n" + row_of("aaaaaaaab");
    BatchRows rows;
    rows.add(0, all);
    rows.sort();
    assert_text_equal(order_of(rows),
                      ":0.4 aaaaaaaa:0.3 aaaaaaaaaaaaaaaaaaaa:0.1 aaaaaaaaaaaaaaaaaaaa-a:0.2"
                      " aaaaaaaaaaaaaaaaaaaa-b:0.0 aaaaaaaab:0.7 none\n:0.6 \xc3\xa4:0.5");
}

void many_rows_are_all_there_in_order(void**) {
    std::mt19937 random(7);
    std::string all;
    constexpr uint64_t kRows = 20000;
    for (uint64_t i = 0; i < kRows; ++i) {
        std::string device(random() % 3 == 0 ? "berlin-pump-" : "munich-");
        all += row_of(device + std::to_string(random() % 500));
    }
    BatchRows rows;
    rows.add(0, all);
    rows.sort();
    assert_int_equal(rows.size(), kRows);
    std::vector<bool> seen(kRows);
    for (uint64_t row = 0; row < kRows; ++row) {
        assert_false(seen[rows[row].position()]);
        seen[rows[row].position()] = true;
        if (row != 0) {
            const int order = rows[row - 1].device().compare(rows[row].device());
            assert_true(order < 0 ||
                        (order == 0 && rows[row - 1].position() < rows[row].position()));
        }
    }
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(rows_go_by_device_and_else_as_they_came),
        cmocka_unit_test(names_differ_wherever_they_do),
        cmocka_unit_test(many_rows_are_all_there_in_order),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

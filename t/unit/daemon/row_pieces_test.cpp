// The search for bad rows: what is stored, what is left over, and how many COPYs it takes.
#include "daemon/load/row_pieces.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

using Rows = std::set<uint64_t>;

// How COPY names the row it stumbled over.
enum class Names { kTrue, kNone, kAlwaysFirst, kBehind, kOutside };

class Search {
  public:
    Search(uint64_t rows, Rows bad, Names names)
        : rows_(rows), bad_(std::move(bad)), names_(names) {}

    // Returns the number of COPYs, the one that found the batch bad included.
    uint64_t run() {
        uint64_t copies = 1;
        const RowRange all = {0, rows_};
        assert_true(refuses(all));
        pieces_.start(rows_, named_in(all));
        while (!pieces_.empty()) {
            const RowRange piece = pieces_.next();
            assert_true(piece.count > 0 && piece.first + piece.count <= rows_);
            assert_true(++copies <= 4 * rows_ + 4);
            if (!refuses(piece)) {
                stored_ += piece.count;
                seen_.push_back(piece);
                pieces_.stored();
            } else if (piece.count > 1) {
                pieces_.refused(named_in(piece));
            } else {
                assert_true(dropped_.insert(piece.first).second);
                seen_.push_back(piece);
                pieces_.dropped();
            }
        }
        assert_true(dropped_ == bad_);
        assert_int_equal(stored_ + dropped_.size(), rows_);
        assert_seen_once();
        return copies;
    }

  private:
    void assert_seen_once() {
        std::sort(seen_.begin(), seen_.end(),
                  [](const RowRange& a, const RowRange& b) { return a.first < b.first; });
        uint64_t next = 0;
        for (const RowRange& piece : seen_) {
            assert_int_equal(piece.first, next);
            next += piece.count;
        }
    }
    [[nodiscard]] bool refuses(const RowRange& piece) const {
        const auto first = bad_.lower_bound(piece.first);
        return first != bad_.end() && *first < piece.first + piece.count;
    }
    [[nodiscard]] uint64_t named_in(const RowRange& piece) const {
        switch (names_) {
            case Names::kTrue:
                return *bad_.lower_bound(piece.first);
            case Names::kAlwaysFirst:
                return piece.first;
            case Names::kBehind:
                return *bad_.lower_bound(piece.first) + 1;
            case Names::kOutside:
                return piece.first + piece.count;
            case Names::kNone:
                break;
        }
        return RowPieces::kNotNamed;
    }

    uint64_t rows_;
    Rows bad_;
    Names names_;
    RowPieces pieces_;
    uint64_t stored_ = 0;
    Rows dropped_;
    std::vector<RowRange> seen_;  // stored or dropped
};

uint64_t log2_up(uint64_t n) {
    uint64_t bits = 0;
    while ((uint64_t{1} << bits) < n) {
        ++bits;
    }
    return bits;
}

Rows some_rows(std::mt19937* random, uint64_t rows, uint64_t count) {
    Rows chosen;
    while (chosen.size() < count) {
        chosen.insert((*random)() % rows);
    }
    return chosen;
}

void one_bad_row_anywhere_takes_four_copies_if_it_is_named(void**) {
    for (uint64_t row = 0; row < 100; ++row) {
        const uint64_t copies = Search(100, {row}, Names::kTrue).run();
        assert_int_equal(copies, row == 0 || row == 99 ? 3 : 4);
    }
}

void one_bad_row_anywhere_is_found_by_halves(void**) {
    for (uint64_t row = 0; row < 100; ++row) {
        assert_in_range(Search(100, {row}, Names::kNone).run(), 1 + 2, 1 + 2 * log2_up(100));
    }
}

void a_batch_of_one_row_is_tried_once_more(void**) {
    assert_int_equal(Search(1, {0}, Names::kTrue).run(), 2);
    assert_int_equal(Search(1, {0}, Names::kNone).run(), 2);
}

void all_rows_may_be_bad(void**) {
    Rows all;
    for (uint64_t row = 0; row < 257; ++row) {
        all.insert(row);
    }
    assert_int_equal(Search(257, all, Names::kTrue).run(), 2 * 257 - 1);
    assert_int_equal(Search(257, all, Names::kNone).run(), 2 * 257 - 1);
}

void copies_grow_with_the_bad_rows_and_not_with_the_batch(void**) {
    std::mt19937 random(7);
    for (const uint64_t rows : {10, 1000, 50000}) {
        for (const uint64_t bad : {1, 2, 3, 10}) {
            for (int i = 0; i < 50; ++i) {
                const Rows chosen = some_rows(&random, rows, bad);
                assert_true(Search(rows, chosen, Names::kTrue).run() <= 3 * bad + 1);
                assert_true(Search(rows, chosen, Names::kNone).run() <=
                            2 * bad * log2_up(rows) + 1);
            }
        }
    }
}

// Each of these leads nowhere: what it costs beyond halves is the one row that was believed.
void names_that_are_wrong_cost_little(void**) {
    std::mt19937 random(8);
    for (const Names names : {Names::kAlwaysFirst, Names::kBehind, Names::kOutside}) {
        for (int i = 0; i < 100; ++i) {
            const Rows chosen = some_rows(&random, 10000, 1 + i % 5);
            const uint64_t halves = 2 * chosen.size() * (log2_up(10000) + 1) + 1;
            assert_true(Search(10000, chosen, names).run() <= halves + 3 * chosen.size() + 3);
        }
    }
}

void rows_that_are_only_bad_together_are_all_stored(void**) {
    RowPieces pieces;
    pieces.start(10, 4);
    uint64_t stored = 0;
    while (!pieces.empty()) {
        stored += pieces.next().count;
        pieces.stored();
    }
    assert_int_equal(stored, 10);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(one_bad_row_anywhere_takes_four_copies_if_it_is_named),
        cmocka_unit_test(one_bad_row_anywhere_is_found_by_halves),
        cmocka_unit_test(a_batch_of_one_row_is_tried_once_more),
        cmocka_unit_test(all_rows_may_be_bad),
        cmocka_unit_test(copies_grow_with_the_bad_rows_and_not_with_the_batch),
        cmocka_unit_test(names_that_are_wrong_cost_little),
        cmocka_unit_test(rows_that_are_only_bad_together_are_all_stored),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

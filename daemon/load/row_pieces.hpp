// The search for the rows that Postgres refuses: which rows of a batch to COPY next, in pieces that
// grow smaller around them. A refused piece is split at the row that Postgres named, else in two.
//
// k bad rows of n take at most 3k COPYs if Postgres names them, 2k log2(n) if it does not. A row
// that was named and is taken when it comes alone ends the trust in names: they could lead through
// the whole batch one row at a time.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice {

// Some of a batch's rows, counted through its fresh frames.
struct RowRange {
    uint64_t first = 0;
    uint64_t count = 0;
};

class RowPieces {
  public:
    static constexpr uint64_t kNotNamed = UINT64_MAX;

    // The rows [0, rows) were refused as a whole; named is which of them Postgres complained of.
    void start(uint64_t rows, uint64_t named);

    [[nodiscard]] bool empty() const noexcept { return open_.empty(); }
    // The piece to COPY next; then one of stored(), refused() and, for a single row, dropped().
    [[nodiscard]] const RowRange& next() const noexcept { return open_.back(); }
    void stored();
    void refused(uint64_t named);
    void dropped();

  private:
    void split(const RowRange& piece, uint64_t named);
    void add(uint64_t first, uint64_t end);

    std::vector<RowRange> open_;
    bool next_is_named_ = false;
    bool names_trusted_ = true;
};

}  // namespace sluice

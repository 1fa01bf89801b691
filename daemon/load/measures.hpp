// What a consumer measures, beside what it counts: sizes and times of its batches, how long records
// were on their way, and how far the clocks of edges are off. All of it costs a batch a few
// additions and a frame two.
#pragma once

#include <cstdint>

#include "daemon/histogram.hpp"

namespace sluice {

inline constexpr uint64_t kWayBoundsMs[] = {10,   25,   50,    100,   250,   500,    1000,
                                            2500, 5000, 10000, 30000, 60000, 300000, 3600000};
inline constexpr uint64_t kBatchRowsBounds[] = {1,     10,    100,   1000,   5000,
                                                10000, 25000, 50000, 100000, 1000000};
inline constexpr uint64_t kBatchBytesBounds[] = {1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22,
                                                 1 << 23, 1 << 24, 1 << 26, 1 << 28};
inline constexpr uint64_t kBatchBoundsUs[] = {1000,    2500,     5000,    10000,  25000,
                                              50000,   100000,   250000,  500000, 1000000,
                                              2500000, 10000000, 30000000};

struct LoadHistograms {
    // Of each record that is stored, from its receipt at the edge to the commit: by two machines'
    // clocks, if they are two.
    Histogram<kWayBoundsMs> way_ms;
    Histogram<kBatchRowsBounds> batch_rows;
    Histogram<kBatchBytesBounds> batch_bytes;
    Histogram<kBatchBoundsUs> batch_us;  // of the transaction

    void add(const LoadHistograms& other) noexcept {
        way_ms.add(other.way_ms);
        batch_rows.add(other.batch_rows);
        batch_bytes.add(other.batch_bytes);
        batch_us.add(other.batch_us);
    }
};

// How far the times that edges give their frames are from the ids that Redis gave the entries: the
// largest difference either way, of the last one or two minutes. Behind includes the time that a
// frame was on its way, which sluice_timeout bounds.
class EdgeClocks {
  public:
    void seen(int64_t frame_ms, int64_t redis_ms, int64_t now_us) noexcept;
    [[nodiscard]] int64_t ahead_ms(int64_t now_us) const noexcept;
    [[nodiscard]] int64_t behind_ms(int64_t now_us) const noexcept;

  private:
    struct Minute {
        int64_t number = INT64_MIN / 2;
        int64_t ahead_ms = 0;
        int64_t behind_ms = 0;
    };

    Minute now_;
    Minute before_;
};

}  // namespace sluice

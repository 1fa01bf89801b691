// What must hold of every schedule, checked at the moment it could be broken:
//   - an entry is acknowledged only when its frame is committed, and trimmed only when every
//     configured group has acknowledged it;
//   - a frame is committed once, whole, with the bytes it was sent with, under row ids of its own,
//     together with its counters; exactly the rows that Postgres refuses are dead letters instead.
// That nothing is missing in the end is for the schedule to ask (missing_frame), once everything
// was given the time to settle.
#pragma once

#include <cstdint>
#include <set>

#include "t/sim/sim_edge.hpp"
#include "t/sim/sim_postgres.hpp"
#include "t/sim/sim_redis.hpp"

namespace sluice::sim {

class Judge : public StreamWatch, public CommitWatch {
  public:
    // trimming_waits_for: a bit for each configured group.
    Judge(SimEdge* edge, uint8_t trimming_waits_for)
        : edge_(edge), trimming_waits_for_(trimming_waits_for) {}

    void entry_acknowledged(const StreamId& id, const StreamEntry* entry) override;
    void entry_trimmed(const StreamEntry& entry) override;
    void committed(const Written& written) override;

    // Redis lost state, or somebody deleted entries: what is neither stored nor in the stream any
    // more is nobody's fault.
    void entries_lost(const SimRedis& redis);

    // A frame that a client was told is queued and that is neither stored nor kept; null if there
    // is none.
    [[nodiscard]] const SentFrame* missing_frame() const;

  private:
    SentFrame* frame_of(const LedgerRow& ledger, const Written& written);
    void check_frame(const LedgerRow& ledger, const Written& written);
    static void check_counts(const Written& written);

    SimEdge* edge_;
    uint8_t trimming_waits_for_;
    std::set<int64_t> row_ids_;
};

}  // namespace sluice::sim

// A batch: the frames that one Postgres transaction stores, and the entries that it keeps as dead
// letters. It owns the replies that their bytes lie in, so rows are never copied between Redis'
// reply and the COPY.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/frame.hpp"
#include "common/timestamp.hpp"
#include "daemon/entry.hpp"
#include "daemon/load/batch_rows.hpp"
#include "daemon/load/row_pieces.hpp"
#include "daemon/stream_id.hpp"

namespace sluice {

struct BatchFrame {
    StreamId id;
    Frame frame;
    int64_t first_row_id = 0;
    bool fresh = false;  // not in the ledger before this transaction
    char created_at[kTimestampBytes] = {};
};

// What Postgres refused, or what cannot even be tried; kept with the reason.
struct DeadLetter {
    static constexpr int32_t kWholeEntry = -1;

    StreamId id;  // of the entry
    int64_t receive_time_ms = 0;
    ProducerId producer_id = {};
    int32_t position = kWholeEntry;  // of the record in its frame
    std::string sqlstate;            // empty if Postgres was not asked
    std::string reason;
    // The row as it stands in the frame, without the newline; of an entry, its fields_text.
    std::string_view bytes;
};

class Batch {
  public:
    Batch(int64_t now_us, uint64_t redis_epoch) noexcept
        : opened_at_us_(now_us), redis_epoch_(redis_epoch) {}

    // Not for entries that stay in the stream or are gone from it.
    void add(const Entry& entry);
    // About what it takes in memory, not only for its rows.
    [[nodiscard]] static uint64_t bytes_of(const Entry& entry) noexcept;
    void keep(std::unique_ptr<EntryBytes> bytes);

    // Sorts by the keys of ledger and dead_letters, so that loaders never meet in opposite orders,
    // and drops frames that are in here twice. Their entries stay in ids(), to be acknowledged with
    // the others.
    void close();

    // Gives frames their row ids, contiguous for each frame, from [*next, end). False when the
    // range ran out: call again with another. What is left of the range stays in *next.
    [[nodiscard]] bool assign_row_ids(int64_t* next, int64_t end) noexcept;
    void forget_row_ids() noexcept { assigned_ = 0; }

    // fresh_ids: the first row ids of the frames that the ledger took.
    void mark_fresh(std::vector<int64_t> fresh_ids);

    // Of the fresh frames.
    [[nodiscard]] const BatchRows& fresh_rows() const noexcept { return fresh_rows_; }
    [[nodiscard]] DeadLetter dead_letter(uint64_t row, std::string sqlstate,
                                         std::string reason) const;

    [[nodiscard]] const std::vector<BatchFrame>& frames() const noexcept { return frames_; }
    // Of entries that are refused as a whole.
    [[nodiscard]] const std::vector<DeadLetter>& dead_entries() const noexcept {
        return dead_entries_;
    }
    // Of frames and dead entries.
    [[nodiscard]] const std::vector<StreamId>& ids() const noexcept { return ids_; }
    [[nodiscard]] uint64_t rows() const noexcept { return rows_; }
    [[nodiscard]] uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] uint64_t rows_bytes() const noexcept { return rows_bytes_; }
    [[nodiscard]] uint64_t duplicate_frames() const noexcept {
        return ids_.size() - dead_entries_.size() - fresh_;
    }
    [[nodiscard]] int64_t opened_at_us() const noexcept { return opened_at_us_; }
    [[nodiscard]] uint64_t redis_epoch() const noexcept { return redis_epoch_; }

  private:
    std::vector<BatchFrame> frames_;
    std::vector<DeadLetter> dead_entries_;
    std::vector<StreamId> ids_;
    std::vector<std::unique_ptr<EntryBytes>> kept_;
    uint64_t rows_ = 0;
    uint64_t bytes_ = 0;
    uint64_t rows_bytes_ = 0;
    BatchRows fresh_rows_;
    uint64_t fresh_ = 0;
    size_t assigned_ = 0;
    int64_t opened_at_us_;
    uint64_t redis_epoch_;
};

}  // namespace sluice

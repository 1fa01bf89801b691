// A batch: the frames that one Postgres transaction stores. It owns the replies that the frames'
// bytes lie in, so rows are never copied between Redis' reply and the COPY.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/frame.hpp"
#include "daemon/stream_id.hpp"

namespace sluice {

// What the bytes of entries lie in; the Redis shell hands it over with the entries.
class EntryBytes {
  public:
    EntryBytes() = default;
    EntryBytes(const EntryBytes&) = delete;
    EntryBytes& operator=(const EntryBytes&) = delete;
    virtual ~EntryBytes() = default;
};

struct Entry {
    StreamId id;
    FrameError error = FrameError::kNone;
    bool gone = false;  // pending, but no longer in the stream: its records are lost
    Frame frame = {};
};

// The entry with these fields, judged: a frame whose rows are not as many as it says is damaged.
[[nodiscard]] Entry read_entry(const StreamId& id, const EntryField* fields, size_t count) noexcept;

struct BatchFrame {
    StreamId id;
    Frame frame;
    int64_t first_row_id = 0;
    bool fresh = false;  // not in the ledger before this transaction
};

class Batch {
  public:
    Batch(int64_t now_us, uint64_t redis_epoch) noexcept
        : opened_at_us_(now_us), redis_epoch_(redis_epoch) {}

    void add(const Entry& entry);
    void keep(std::unique_ptr<EntryBytes> bytes);

    // Sorts by the ledger's key, so that loaders never meet in opposite orders, and drops frames
    // that are in here twice. Their entries stay in ids(), to be acknowledged with the others.
    void close();

    // Gives frames their row ids, contiguous for each frame, from [*next, end). False when the
    // range ran out: call again with another. What is left of the range stays in *next.
    [[nodiscard]] bool assign_row_ids(int64_t* next, int64_t end) noexcept;

    // fresh_ids: the first row ids of the frames that the ledger took.
    void mark_fresh(std::vector<int64_t> fresh_ids);

    [[nodiscard]] bool empty() const noexcept { return frames_.empty(); }
    [[nodiscard]] const std::vector<BatchFrame>& frames() const noexcept { return frames_; }
    [[nodiscard]] const std::vector<StreamId>& ids() const noexcept { return ids_; }
    [[nodiscard]] uint64_t rows() const noexcept { return rows_; }
    [[nodiscard]] uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] uint64_t fresh_rows() const noexcept { return fresh_rows_; }
    [[nodiscard]] uint64_t duplicate_frames() const noexcept { return ids_.size() - fresh_; }
    [[nodiscard]] int64_t opened_at_us() const noexcept { return opened_at_us_; }
    [[nodiscard]] uint64_t redis_epoch() const noexcept { return redis_epoch_; }

  private:
    std::vector<BatchFrame> frames_;
    std::vector<StreamId> ids_;
    std::vector<std::unique_ptr<EntryBytes>> kept_;
    uint64_t rows_ = 0;
    uint64_t bytes_ = 0;
    uint64_t fresh_rows_ = 0;
    uint64_t fresh_ = 0;
    size_t assigned_ = 0;
    int64_t opened_at_us_;
    uint64_t redis_epoch_;
};

}  // namespace sluice

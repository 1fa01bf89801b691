// An entry of the stream, judged: a frame to store, a dead letter, or one for a newer loader.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "common/frame.hpp"
#include "common/plain_entry.hpp"
#include "daemon/stream_id.hpp"

namespace sluice {

// What the bytes of entries lie in; the Redis shell hands it over with the entries.
class EntryBytes {
  public:
    EntryBytes() = default;
    EntryBytes(const EntryBytes&) = delete;
    EntryBytes& operator=(const EntryBytes&) = delete;
    virtual ~EntryBytes() = default;

    // Keeps bytes that were made of an entry as long as those that were read.
    std::string_view keep(std::string made) { return made_.emplace_back(std::move(made)); }

  private:
    std::deque<std::string> made_;
};

struct Entry {
    StreamId id;
    // kNone: its records can be stored. kUnknownVersion: it stays in the stream. Any other: it
    // becomes a dead letter, and frame holds what identifies it and its fields (fields_text).
    FrameError error = FrameError::kNone;
    bool gone = false;   // pending, but no longer in the stream: its records are lost
    bool plain = false;  // the frame was made of another producer's entry
    Frame frame = {};
    std::string_view reason;   // of a dead letter
    uint64_t other_bytes = 0;  // that it holds in memory besides frame.rows
};

// The fields of an entry as a dead letter keeps them: names and values in turn, each as a
// netstring ("5:hello,").
[[nodiscard]] std::string fields_text(const EntryField* fields, size_t count);

class EntryReader {
  public:
    // A frame whose rows are not as many as it says is damaged. A plain entry becomes a frame of
    // one record. What had to be made of the fields is kept in bytes.
    [[nodiscard]] Entry read(const StreamId& id, const EntryField* fields, size_t count,
                             EntryBytes* bytes);

  private:
    PlainEntries plain_;
};

}  // namespace sluice

// The edges: what their clients were told, and the bytes they sent. Frames are written by the
// edge's own encoder, so that the loader's reader reads what it will read.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/frame.hpp"
#include "common/record_rules.hpp"
#include "daemon/load/batch.hpp"
#include "t/sim/chance.hpp"

namespace sluice::sim {

enum class EntryKind : uint8_t {
    kFrame,
    kPlain,         // of another producer, one record
    kBroken,        // can be read as neither: a dead letter as a whole
    kNewerVersion,  // to be left in the stream
};

// The records that one XADD carries, and what became of them.
struct SentFrame {
    uint32_t number = 0;
    EntryKind kind = EntryKind::kFrame;
    ProducerId producer_id = {};    // of kFrame
    std::vector<int64_t> times_ms;  // as written; several if a keyed request was sent again
    std::string rows;
    std::vector<size_t> row_ends;
    std::vector<bool> poison;   // rows that Postgres refuses
    std::string fields_text;    // of kBroken, as its dead letter keeps it
    bool acknowledged = false;  // Redis has confirmed it
    bool may_be_lost = false;   // since then, Redis lost it before anybody could have stored it
    bool stored = false;        // its rows, or the dead letters in their place
    bool kept_whole = false;    // of kBroken: its dead letter

    [[nodiscard]] uint32_t records() const { return static_cast<uint32_t>(row_ends.size()); }
    [[nodiscard]] std::string_view row(size_t position) const;
    // That its entry may be acknowledged.
    [[nodiscard]] bool settled() const { return stored || kept_whole; }
};

// Of an entry of the stream: its fields, as Redis keeps them.
struct EntryBody {
    SentFrame* frame = nullptr;
    std::string bytes;  // what the fields point into
    std::vector<EntryField> fields;
};

// A row of COPY's bytes, or a dead letter in its place, recognized.
struct StoredRow {
    int64_t id = 0;
    SentFrame* frame = nullptr;
    uint32_t position = 0;
    int64_t t_ms = 0;
    Level level = Level::kDebug;
    ProducerId u = {};  // of a dead letter
};

class SimEdge {
  public:
    SimEdge(Chance* chance, unsigned poison_percent, unsigned large_percent);

    // A frame that was never sent; its first receive time is t_ms.
    SentFrame* make_frame(EntryKind kind, bool keyed, int64_t t_ms);
    // The entry that carries it, with one of its times.
    [[nodiscard]] std::shared_ptr<const EntryBody> encode(SentFrame* frame, int64_t t_ms);

    // Takes a line of COPY's bytes apart; a violation unless it is the whole of a row that was
    // sent, with a receive time of its frame.
    StoredRow recognize(std::string_view line);
    // The same for what a dead letter says it holds.
    StoredRow recognize(const DeadLetter& letter);

    [[nodiscard]] std::deque<SentFrame>& frames() noexcept { return frames_; }

  private:
    void append_row(SentFrame* frame, unsigned position);
    void make_plain(SentFrame* frame, EntryBody* body) const;
    void damage(EntryBody* body);
    SentFrame* recognize_row(std::string_view row, uint32_t* position, Level* level);

    Chance* chance_;
    unsigned poison_percent_;
    unsigned large_percent_;
    std::deque<SentFrame> frames_;
    ProducerIds workers_[2];
};

// The receive time under which a frame is stored: a clock that is far off counts as the bound.
[[nodiscard]] int64_t stored_time_ms(int64_t t_ms) noexcept;

}  // namespace sluice::sim

#include "t/sim/judge.hpp"

#include <algorithm>
#include <map>

#include "t/sim/trace.hpp"

namespace sluice::sim {

void Judge::entry_acknowledged(const StreamId& id, const StreamEntry* entry) {
    if (entry == nullptr) {
        return;  // somebody deleted it: there is nothing left to store
    }
    const SentFrame& frame = *entry->body->frame;
    if (frame.kind == EntryKind::kNewerVersion) {
        violated("%s was acknowledged, but cannot be read", to_string(id).c_str());
    }
    if (!frame.settled()) {
        violated("%s was acknowledged, but its frame %u is not committed", to_string(id).c_str(),
                 frame.number);
    }
}

void Judge::entry_trimmed(const StreamEntry& entry) {
    if ((entry.done_by & trimming_waits_for_) != trimming_waits_for_) {
        violated("%s (frame %u) was trimmed before every group acknowledged it",
                 to_string(entry.id).c_str(), entry.body->frame->number);
    }
}

void Judge::committed(const Written& written) {
    size_t rows = 0;
    for (const LedgerRow& ledger : written.ledger) {
        check_frame(ledger, written);
        rows += ledger.n;
    }
    if (rows != written.rows.size() + written.letters.size()) {
        violated("%zu rows and %zu dead letters were committed, but the ledger's frames have %zu",
                 written.rows.size(), written.letters.size(), rows);
    }
    check_counts(written);
    for (SentFrame* frame : written.whole_letters) {
        frame->kept_whole = true;
    }
}

SentFrame* Judge::frame_of(const LedgerRow& ledger, const Written& written) {
    for (SentFrame& frame : edge_->frames()) {
        if (frame.kind == EntryKind::kFrame && frame.producer_id == ledger.u) {
            return &frame;
        }
    }
    // The id of a plain entry's frame is the loader's to make.
    for (const StoredRow& row : written.rows) {
        if (row.frame->kind == EntryKind::kPlain && row.id == ledger.first_row_id) {
            return row.frame;
        }
    }
    for (const StoredRow& letter : written.letters) {
        if (letter.frame->kind == EntryKind::kPlain && letter.u == ledger.u) {
            return letter.frame;
        }
    }
    violated("the ledger got a frame that nobody sent");
}

// Each record is either a row, under its own id, or a dead letter.
void Judge::check_frame(const LedgerRow& ledger, const Written& written) {
    SentFrame* frame = frame_of(ledger, written);
    if (frame->stored) {
        violated("frame %u was stored twice", frame->number);
    }
    std::vector<unsigned> rows(frame->records());
    std::vector<unsigned> letters(frame->records());
    for (const StoredRow& row : written.rows) {
        if (row.frame != frame || row.id != ledger.first_row_id + row.position) {
            continue;
        }
        if (!row_ids_.insert(row.id).second) {
            violated("row id %lld was given twice, the second time in frame %u",
                     static_cast<long long>(row.id), frame->number);
        }
        rows[row.position] += row.t_ms == ledger.t_ms ? 1 : 0;
    }
    for (const StoredRow& letter : written.letters) {
        if (letter.frame == frame) {
            letters[letter.position] += letter.t_ms == ledger.t_ms && letter.u == ledger.u ? 1 : 0;
        }
    }
    for (uint32_t position = 0; position < frame->records(); ++position) {
        const bool poison = frame->poison[position];
        if (ledger.n != frame->records() || rows[position] != (poison ? 0 : 1) ||
            letters[position] != (poison ? 1 : 0)) {
            violated("record %u of frame %u, which is %s, became %u rows and %u dead letters",
                     position, frame->number, poison ? "poison" : "good", rows[position],
                     letters[position]);
        }
    }
    frame->stored = true;
}

void Judge::check_counts(const Written& written) {
    std::map<std::pair<int64_t, Level>, int64_t> uncounted;
    for (const StoredRow& row : written.rows) {
        ++uncounted[{row.t_ms / 60000, row.level}];
    }
    for (const MinuteCount& count : written.counts) {
        uncounted[{count.minute, count.level}] -= static_cast<int64_t>(count.n);
    }
    for (const auto& [minute_and_level, rows] : uncounted) {
        if (rows != 0) {
            violated("%lld rows more were committed than counted, of minute %lld and %s",
                     static_cast<long long>(rows), static_cast<long long>(minute_and_level.first),
                     kLevelNames[static_cast<unsigned>(minute_and_level.second)].data());
        }
    }
}

void Judge::entries_lost(const SimRedis& redis) {
    for (SentFrame& frame : edge_->frames()) {
        const auto carries = [&frame](const StreamEntry& entry) {
            return entry.body->frame == &frame;
        };
        frame.may_be_lost = frame.may_be_lost ||
                            (!frame.settled() &&
                             std::none_of(redis.entries().begin(), redis.entries().end(), carries));
    }
}

const SentFrame* Judge::missing_frame() const {
    for (const SentFrame& frame : edge_->frames()) {
        if (frame.kind != EntryKind::kNewerVersion && frame.acknowledged && !frame.settled() &&
            !frame.may_be_lost) {
            return &frame;
        }
    }
    return nullptr;
}

}  // namespace sluice::sim

#include "t/sim/sim_postgres.hpp"

#include <algorithm>

#include "daemon/load/copy_rows.hpp"
#include "t/sim/trace.hpp"

namespace sluice::sim {
namespace {

constexpr int64_t kHourMs = 3600 * 1000;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr int64_t kKeysKeptMs = 24 * kHourMs;
constexpr uint64_t kChunkBytesMax = 300;

bool contains(const std::vector<ProducerId>& keys, const ProducerId& u) {
    return std::find(keys.begin(), keys.end(), u) != keys.end();
}

}  // namespace

SessionId SimPostgres::connect(unsigned slot) {
    Session session;
    session.id = ++last_session_;
    session.slot = slot;
    sessions_.push_back(std::move(session));
    return last_session_;
}

SimPostgres::Session* SimPostgres::find(SessionId id) {
    for (Session& session : sessions_) {
        if (session.id == id && !session.abandoned) {
            return &session;
        }
    }
    return nullptr;
}

bool SimPostgres::perform(SessionId id, const PgAction& action, int64_t wall_ms, PgReply* reply) {
    Session* session = find(id);
    const bool begins = action.step == PgStep::kInsertLedger && !session->waits;
    const bool goes_on = action.step == PgStep::kInsertLedger || action.step == PgStep::kCopy ||
                         action.step == PgStep::kCopyGoodRows ||
                         action.step == PgStep::kDeadLetter || action.step == PgStep::kCount ||
                         action.step == PgStep::kCommit;
    if (session->in_transaction != (goes_on && !begins)) {
        violated("a step that does not belong %s a transaction: %s",
                 session->in_transaction ? "into" : "outside of", text_of(action).c_str());
    }
    bool answered = true;
    switch (action.step) {
        case PgStep::kCheck:
            break;
        case PgStep::kMakePartitions:
            for (const int64_t day : action.log_days) {
                log_days_.emplace(day, 0);
            }
            for (const int64_t hour : action.ledger_hours) {
                ledger_hours_.emplace(hour, 0);
            }
            break;
        case PgStep::kReserveIds:
            reply->first_id = next_block_++ * kRowIdBlock + 1;
            break;
        case PgStep::kInsertLedger:
            answered = insert_ledger(session, *action.batch, reply);
            break;
        case PgStep::kCopy:
            copy(session, action, reply);
            break;
        case PgStep::kCopyGoodRows:
            copy_good_rows(action.letter, reply);
            break;
        case PgStep::kDeadLetter:
            answered = insert_dead_letter(session, action.letter, reply);
            break;
        case PgStep::kCount:
            answered = count(session, action.counts);
            break;
        case PgStep::kCommit:
            commit(session);
            break;
        case PgStep::kPruneLedger:
            prune(*session, action.ledger_hours.front(), wall_ms, reply);
            break;
        default:
            violated("a step that the simulated Postgres does not know: %s",
                     text_of(action).c_str());
    }
    const bool undone_alone = action.careful && reply->status == PgStatus::kBadData;
    if (answered && reply->status != PgStatus::kOk && !undone_alone) {
        roll_back(id);
    }
    return answered;
}

// As PgStore: first the keys, in their own order, by a statement of their own; then the frames.
bool SimPostgres::insert_ledger(Session* session, const Batch& batch, PgReply* reply) {
    session->in_transaction = true;
    if (!insert_keys(session, batch)) {
        return false;
    }
    const std::vector<BatchFrame>& frames = batch.frames();
    for (; session->frames_done < frames.size(); ++session->frames_done) {
        const BatchFrame& frame = frames[session->frames_done];
        const ProducerId& u = frame.frame.producer_id;
        const LedgerKey key = {frame.frame.receive_time_ms, u};
        if (is_keyed(u) && !contains(session->written.keys, u)) {
            continue;
        }
        if (ledger_hours_.count(key.first / kHourMs) == 0) {
            reply->status = PgStatus::kNoPartition;
            return true;
        }
        const SessionId holder = frame_holder(key);
        if (!wait_for(session, holder)) {
            return false;
        }
        if (holder == 0 && ledger_.count(key) == 0) {
            session->written.ledger.push_back(
                {key.first, u, frame.first_row_id, frame.frame.records});
            session->fresh_ids.push_back(frame.first_row_id);
        }
    }
    reply->fresh_ids = session->fresh_ids;
    return true;
}

bool SimPostgres::insert_keys(Session* session, const Batch& batch) {
    std::vector<ProducerId> keys;
    for (const BatchFrame& frame : batch.frames()) {
        if (is_keyed(frame.frame.producer_id)) {
            keys.push_back(frame.frame.producer_id);
        }
    }
    std::sort(keys.begin(), keys.end());
    for (; session->keys_done < keys.size(); ++session->keys_done) {
        const ProducerId& u = keys[session->keys_done];
        if (!wait_for(session, key_holder(u))) {
            return false;
        }
        if (keys_.count(u) == 0 && !contains(session->written.keys, u)) {
            session->written.keys.push_back(u);
        }
    }
    return true;
}

// True if there is nobody to wait for.
bool SimPostgres::wait_for(Session* session, SessionId holder) {
    session->waits_for = holder == session->id ? 0 : holder;
    session->waits = session->waits_for != 0;
    for (SessionId id = session->waits_for; id != 0;) {
        id = std::find_if(sessions_.begin(), sessions_.end(), [&](const Session& other) {
                 return other.id == id;
             })->waits_for;
        if (id == session->id) {
            violated("loaders wait for each other: a deadlock");
        }
    }
    return !session->waits;
}

void SimPostgres::copy(Session* session, const PgAction& action, PgReply* reply) {
    if (action.rows.count > copy_rows_max_) {
        reply->status = PgStatus::kRetry;
        return;
    }
    CopyRows source(*action.batch, action.rows);
    std::vector<StoredRow> rows;
    std::string chunk;
    while (source.next_chunk(1 + chance_->below(kChunkBytesMax), &chunk)) {
        for (std::string_view rest = chunk; !rest.empty();) {
            const size_t bytes = rest.find('\n') + 1;
            rows.push_back(edge_->recognize(rest.substr(0, bytes)));
            rest.remove_prefix(bytes);
        }
        chunk.clear();
    }
    if (rows.size() != action.rows.count) {
        violated("%zu rows were made of %llu", rows.size(),
                 static_cast<unsigned long long>(action.rows.count));
    }
    for (size_t i = 0; i < rows.size(); ++i) {
        const StoredRow& row = rows[i];
        if (row.frame->poison[row.position] || refuses_all_rows_) {
            refuse_rows(i + 1, rows.size(), reply);
            return;
        }
        if (log_days_.count(row.t_ms / kDayMs) == 0) {
            reply->status = PgStatus::kNoPartition;
            return;
        }
    }
    Written& written = session->written;
    written.rows.insert(written.rows.end(), rows.begin(), rows.end());
    reply->counts = source.counts();
}

// Mostly Postgres names the line; sometimes it does not, or it is another one.
void SimPostgres::refuse_rows(uint64_t first_bad, uint64_t rows, PgReply* reply) {
    reply->status = PgStatus::kBadData;
    reply->sqlstate = "22P02";
    reply->reason = "poison";
    reply->named_line = first_bad;
    if (chance_->one_in(3)) {
        reply->named_line = chance_->below(rows + 2);
    }
}

void SimPostgres::copy_good_rows(const DeadLetter& in_place_of, PgReply* reply) const {
    if (refuses_all_rows_) {
        reply->status = PgStatus::kBadData;
    } else if (log_days_.count(in_place_of.receive_time_ms / kDayMs) == 0) {
        reply->status = PgStatus::kNoPartition;
    }
}

// Of a row it cannot be there yet: the ledger has just taken its frame.
bool SimPostgres::insert_dead_letter(Session* session, const DeadLetter& letter, PgReply* reply) {
    const StoredRow row = edge_->recognize(letter);
    if (letter.position != DeadLetter::kWholeEntry) {
        session->written.letters.push_back(row);
        reply->inserted = true;
        return true;
    }
    const SessionId holder = letter_holder(row.frame);
    if (!wait_for(session, holder)) {
        return false;
    }
    reply->inserted = holder == 0 && !row.frame->kept_whole;
    if (reply->inserted) {
        session->written.whole_letters.push_back(row.frame);
    }
    return true;
}

bool SimPostgres::count(Session* session, const std::vector<MinuteCount>& counts) {
    for (const MinuteCount& count : counts) {
        if (!wait_for(session, counter_holder(*session, count))) {
            return false;
        }
    }
    session->written.counts.insert(session->written.counts.end(), counts.begin(), counts.end());
    return true;
}

void SimPostgres::commit(Session* session) {
    const Written& written = session->written;
    watch_->committed(written);
    for (const LedgerRow& row : written.ledger) {
        ledger_[{row.t_ms, row.u}] = row;
        ++ledger_hours_[row.t_ms / kHourMs];
        if (contains(written.keys, row.u)) {
            keys_[row.u] = row.t_ms;
        }
    }
    for (const StoredRow& row : written.rows) {
        ++log_days_[row.t_ms / kDayMs];
        highest_row_id_ = std::max(highest_row_id_, row.id);
    }
    end_transaction(session);
}

// Dropping a partition needs the ledger for itself: it does not wait long.
void SimPostgres::prune(const Session& session, int64_t before_hour, int64_t wall_ms,
                        PgReply* reply) {
    const int64_t keys_before_ms = std::min(before_hour * kHourMs, wall_ms - kKeysKeptMs);
    for (auto key = keys_.begin(); key != keys_.end();) {
        if (key->second >= keys_before_ms) {
            ++key;
        } else if (chance_->one_in(8)) {
            reply->more = true;
            return;
        } else {
            key = keys_.erase(key);
        }
    }
    for (const Session& other : sessions_) {
        if (other.id != session.id && other.in_transaction) {
            reply->status = PgStatus::kRetry;
            return;
        }
    }
    ledger_hours_.erase(ledger_hours_.begin(), ledger_hours_.lower_bound(before_hour));
    ledger_.erase(ledger_.begin(), ledger_.lower_bound({before_hour * kHourMs, ProducerId{}}));
}

void SimPostgres::roll_back(SessionId id) {
    end_transaction(find(id));
}

void SimPostgres::end_transaction(Session* session) {
    session->in_transaction = false;
    session->written = {};
    session->keys_done = 0;
    session->frames_done = 0;
    session->fresh_ids.clear();
    session->waits = false;
    session->waits_for = 0;
    ++ended_transactions_;
    for (Session& other : sessions_) {
        other.waits_for = other.waits_for == session->id ? 0 : other.waits_for;
    }
}

void SimPostgres::abandon(SessionId id, int64_t until_us, bool commits) {
    Session* session = find(id);
    if (session != nullptr) {
        session->abandoned = true;
        session->until_us = until_us;
        session->commits = commits && session->in_transaction;
        session->waits = false;
        session->waits_for = 0;
    }
}

bool SimPostgres::has_abandoned() const noexcept {
    return std::any_of(sessions_.begin(), sessions_.end(),
                       [](const Session& session) { return session.abandoned; });
}

void SimPostgres::end_abandoned(int64_t now_us) {
    for (auto session = sessions_.begin(); session != sessions_.end();) {
        if (!session->abandoned || now_us < session->until_us) {
            ++session;
            continue;
        }
        if (session->commits) {
            commit(&*session);
        } else {
            end_transaction(&*session);
        }
        session = sessions_.erase(session);
    }
}

void SimPostgres::end_all() {
    sessions_.clear();
    ++ended_transactions_;
}

void SimPostgres::fail_over() {
    end_all();
    next_block_ = (highest_row_id_ + kRowIdBlock - 1) / kRowIdBlock;
}

bool SimPostgres::in_transaction() const noexcept {
    return std::any_of(sessions_.begin(), sessions_.end(),
                       [](const Session& session) { return session.in_transaction; });
}

void SimPostgres::refuse_all_rows(bool refuses) {
    refuses_all_rows_ = in_transaction() ? refuses_all_rows_ : refuses;
}

bool SimPostgres::drop_empty_partition() {
    if (in_transaction()) {
        return false;
    }
    std::map<int64_t, uint64_t>& partitions = chance_->percent(50) ? log_days_ : ledger_hours_;
    for (auto partition = partitions.begin(); partition != partitions.end(); ++partition) {
        if (partition->second == 0) {
            partitions.erase(partition);
            return true;
        }
    }
    return false;
}

SessionId SimPostgres::key_holder(const ProducerId& u) const {
    for (const Session& session : sessions_) {
        if (contains(session.written.keys, u)) {
            return session.id;
        }
    }
    return 0;
}

SessionId SimPostgres::frame_holder(const LedgerKey& key) const {
    for (const Session& session : sessions_) {
        for (const LedgerRow& row : session.written.ledger) {
            if (row.t_ms == key.first && row.u == key.second) {
                return session.id;
            }
        }
    }
    return 0;
}

SessionId SimPostgres::letter_holder(const SentFrame* frame) const {
    for (const Session& session : sessions_) {
        const std::vector<SentFrame*>& letters = session.written.whole_letters;
        if (std::find(letters.begin(), letters.end(), frame) != letters.end()) {
            return session.id;
        }
    }
    return 0;
}

// Only of a slot's earlier transactions: loaders count in slots of their own.
SessionId SimPostgres::counter_holder(const Session& session, const MinuteCount& count) const {
    for (const Session& other : sessions_) {
        if (other.id == session.id || other.slot != session.slot) {
            continue;
        }
        for (const MinuteCount& held : other.written.counts) {
            if (held.minute == count.minute && held.level == count.level) {
                return other.id;
            }
        }
    }
    return 0;
}

}  // namespace sluice::sim

#include "daemon/commands/replay.hpp"

#include <algorithm>

#include "daemon/commands/letter.hpp"
#include "daemon/load/batch.hpp"
#include "daemon/pg_partition.hpp"
#include "daemon/pg_text.hpp"

namespace sluice {
namespace {

constexpr const char* kSlot = "replay";
constexpr int64_t kHourUs = 3600LL * 1000 * 1000;
constexpr size_t kReasonBytesMax = 500;

std::string array_of(const std::vector<int64_t>& ids) {
    ArrayText text;
    for (const int64_t id : ids) {
        text.add(id);
    }
    return text.close();
}

}  // namespace

Replay::Replay(PgConnection* postgres, const std::vector<int64_t>& ids)
    : postgres_(*postgres), ids_(ids.empty() ? "" : array_of(ids)), rows_(postgres, kSlot) {}

bool Replay::count(uint64_t* letters) {
    const PgRows rows = postgres_.query(
        "SELECT count(*), coalesce(max(id), 0) FROM dead_letters"
        " WHERE $1 = '' OR id = ANY (nullif($1, '')::bigint[])",
        {ids_.c_str()});
    if (!rows) {
        return false;
    }
    *letters = static_cast<uint64_t>(rows.integer(0, 0));
    most_ = rows.integer(0, 1);
    return true;
}

bool Replay::run(Progress* progress, ReplayCounts* counts) {
    for (;;) {
        std::string ids;
        bool any = false;
        if (!next_letters(&ids, &any)) {
            return false;
        }
        if (!any) {
            return true;
        }
        if (!replay_letters(ids, counts)) {
            return false;
        }
        progress->at(counts->stored + counts->known + counts->refused);
    }
}

// Some hundreds, and not many more bytes than one of the largest has; with their partitions.
bool Replay::next_letters(std::string* ids, bool* any) {
    const std::string last = std::to_string(last_);
    const std::string most = std::to_string(most_);
    const PgRows rows = postgres_.query(
        "SELECT id, (extract(epoch FROM t) * 1000000)::bigint, position FROM ("
        " SELECT id, t, position,"
        "  sum(octet_length(row_bytes)) OVER (ORDER BY id) - octet_length(row_bytes) AS before"
        " FROM (SELECT * FROM dead_letters WHERE id > $1 AND id <= $2"
        "  AND ($3 = '' OR id = ANY (nullif($3, '')::bigint[])) ORDER BY id LIMIT 500) AS next"
        ") AS summed WHERE before < 16777216 ORDER BY id",
        {last.c_str(), most.c_str(), ids_.c_str()});
    if (!rows) {
        return false;
    }
    ArrayText array;
    for (int row = 0; row < rows.count(); ++row) {
        last_ = rows.integer(row, 0);
        array.add(last_);
        const int64_t t_us = rows.integer(row, 1);
        if (!rows_.make_partition_of(t_us) ||
            (rows.integer(row, 2) == DeadLetter::kWholeEntry &&
             !make_partition(&postgres_, PartitionKind::kLedgerHour, t_us / kHourUs))) {
            return false;
        }
    }
    *ids = array.close();
    *any = rows.count() != 0;
    return true;
}

bool Replay::replay_letters(const std::string& ids, ReplayCounts* counts) {
    Transaction transaction(&postgres_);
    std::vector<Letter> letters;
    if (!transaction.begin() || !postgres_.execute("SET LOCAL synchronous_commit = on") ||
        !read_letters(ids, &letters)) {
        return false;
    }
    ReplayCounts done;
    std::vector<LogRow> rows;
    std::vector<const Letter*> of_rows;  // for each row, the letter
    std::vector<int64_t> gone;
    for (const Letter& letter : letters) {
        LogRow row;
        row.created_at_us = letter.t_us;
        std::string why;
        if (!row_of(letter, &row.text, &why)) {
            if (!keep(letter.id, "", why)) {
                return false;
            }
            ++done.refused;
            continue;
        }
        bool fresh = true;
        if (!rows_.next_id(&row.id) || !enter(letter, row.id, &fresh)) {
            return false;
        }
        if (!fresh) {
            gone.push_back(letter.id);
            ++done.known;
            continue;
        }
        rows.push_back(std::move(row));
        of_rows.push_back(&letter);
    }
    std::vector<RefusedRow> refused;
    if (!rows_.store(rows, &refused)) {
        return false;
    }
    for (const RefusedRow& row : refused) {
        const Letter& letter = *of_rows[row.index];
        if (!leave(letter) || !keep(letter.id, row.sqlstate, row.reason)) {
            return false;
        }
        of_rows[row.index] = nullptr;
    }
    for (const Letter* letter : of_rows) {
        if (letter != nullptr) {
            gone.push_back(letter->id);
        }
    }
    if (!remove(gone) || !transaction.commit()) {
        return false;
    }
    counts->stored += rows.size() - refused.size();
    counts->known += done.known;
    counts->refused += done.refused + refused.size();
    return true;
}

// Another replay that has them is waited for, and what it has removed is not there any more.
bool Replay::read_letters(const std::string& ids, std::vector<Letter>* letters) {
    const PgRows rows = postgres_.query(
        "SELECT id, (extract(epoch FROM t) * 1000000)::bigint, u, position, stream_id, row_bytes"
        " FROM dead_letters WHERE id = ANY ($1::bigint[]) ORDER BY id FOR UPDATE",
        {ids.c_str()});
    if (!rows) {
        return false;
    }
    for (int row = 0; row < rows.count(); ++row) {
        Letter letter;
        letter.id = rows.integer(row, 0);
        letter.t_us = rows.integer(row, 1);
        letter.producer = std::string(rows.text(row, 2));
        letter.position = static_cast<int32_t>(rows.integer(row, 3));
        letter.stream_id = std::string(rows.text(row, 4));
        if (!read_bytea(rows.text(row, 5), &letter.bytes)) {
            postgres_.set_error({PgFailure::kRefused, "", "bytea_output is not hex", 0});
            return false;
        }
        letters->push_back(std::move(letter));
    }
    return true;
}

bool Replay::row_of(const Letter& letter, std::string* row, std::string* why) {
    if (letter.position != DeadLetter::kWholeEntry) {
        *row = letter.bytes;
        return true;
    }
    std::vector<EntryField> fields;
    StreamId id;
    if (!read_fields_text(letter.bytes, &fields) || !parse_stream_id(letter.stream_id, &id)) {
        *why = "cannot be stored again: its bytes were cut";
        return false;
    }
    EntryBytes kept;
    const Entry entry = reader_.read(id, fields.data(), fields.size(), &kept);
    if (!entry.plain) {
        *why = entry.reason.empty() ? "cannot be stored again: a frame, and no plain entry"
                                    : std::string(entry.reason);
        return false;
    }
    *row = std::string(entry.frame.rows.substr(0, entry.frame.rows.size() - 1));
    return true;
}

// Of a frame's row, the frame was entered when it was stored.
bool Replay::enter(const Letter& letter, int64_t row_id, bool* fresh) {
    if (letter.position != DeadLetter::kWholeEntry) {
        return true;
    }
    const std::string time = time_text(letter.t_us);
    const std::string first = std::to_string(row_id);
    const PgRows entered = postgres_.query(
        "INSERT INTO ledger (t, u, stream_id, first_row_id, n) VALUES ($1, $2, $3, $4, 1)"
        " ON CONFLICT DO NOTHING",
        {time.c_str(), letter.producer.c_str(), letter.stream_id.c_str(), first.c_str()});
    *fresh = entered && entered.affected() != 0;
    return static_cast<bool>(entered);
}

// What was entered and not stored after all, or it would be taken for stored the next time.
bool Replay::leave(const Letter& letter) {
    if (letter.position != DeadLetter::kWholeEntry) {
        return true;
    }
    const std::string time = time_text(letter.t_us);
    return static_cast<bool>(postgres_.query("DELETE FROM ledger WHERE t = $1 AND u = $2",
                                             {time.c_str(), letter.producer.c_str()}));
}

bool Replay::keep(int64_t id, const std::string& sqlstate, const std::string& reason) {
    const std::string number = std::to_string(id);
    const std::string text = cut_text(reason, kReasonBytesMax);
    return static_cast<bool>(
        postgres_.query("UPDATE dead_letters SET sqlstate = $2, reason = $3 WHERE id = $1",
                        {number.c_str(), sqlstate.c_str(), text.c_str()}));
}

bool Replay::remove(const std::vector<int64_t>& ids) {
    const std::string array = array_of(ids);
    return static_cast<bool>(
        postgres_.query("DELETE FROM dead_letters WHERE id = ANY ($1::bigint[])", {array.c_str()}));
}

}  // namespace sluice

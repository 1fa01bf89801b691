#include "daemon/pg_log_rows.hpp"

#include <algorithm>
#include <string_view>

#include "daemon/load/copy_rows.hpp"
#include "daemon/load/row_pieces.hpp"
#include "daemon/pg_partition.hpp"
#include "daemon/pg_text.hpp"

namespace sluice {
namespace {

constexpr size_t kChunkBytes = 256 * 1024;
constexpr int64_t kDayUs = 86400LL * 1000 * 1000;
constexpr int64_t kMinuteUs = 60LL * 1000 * 1000;
// Postgres' reasons quote values of any length.
constexpr size_t kReasonBytesMax = 500;
// Records are far smaller, and what is larger than the protocol's messages could never be kept.
constexpr size_t kDeadLetterBytesMax = 16 * 1024 * 1024;
constexpr const char* kCopyLogs =
    "COPY logs (id, created_at, device_id, log_level, message, log_data, event_time) FROM STDIN";

// Downwards, also before 1970.
constexpr int64_t floor_of(int64_t time_us, int64_t unit_us) noexcept {
    return time_us / unit_us - (time_us % unit_us < 0 ? 1 : 0);
}

}  // namespace

bool copy_into_logs(PgConnection* connection, uint64_t rows,
                    const std::function<bool(std::string*)>& next_chunk, std::string* chunk) {
    chunk->clear();
    bool more = next_chunk(chunk);
    // A carriage return that ends the first line would become the end of every line.
    const std::string_view first = std::string_view(*chunk).substr(0, chunk->find('\n'));
    if (first.find('\r') != std::string_view::npos) {
        connection->set_error({PgFailure::kBadData, "22P04", "carriage return in a row", 1});
        return false;
    }
    CopyWriter writer(connection);
    bool written = writer.begin(kCopyLogs);
    while (written && more) {
        written = writer.write(*chunk);
        chunk->clear();
        more = next_chunk(chunk);
    }
    uint64_t copied = 0;
    if (!written || !writer.finish(&copied)) {
        return false;
    }
    // "\\." ends COPY's data, and a backslash hides the end of a line.
    if (copied != rows) {
        connection->set_error(
            {PgFailure::kBadData, "22P04", "COPY counted other rows than the frames hold", 0});
        return false;
    }
    return true;
}

bool copy_good_rows(PgConnection* connection, int64_t created_at_ms) {
    CopyWriter writer(connection);
    uint64_t copied = 0;
    return set_savepoint(connection) && writer.begin(kCopyLogs) &&
           writer.write(good_rows(created_at_ms)) && writer.finish(&copied) &&
           undo_to_savepoint(connection);
}

bool count_rows(PgConnection* connection, const std::vector<MinuteCount>& counts,
                const std::string& slot) {
    ArrayText minutes, levels, numbers;
    for (const MinuteCount& count : counts) {
        append_time(count.minute * kMinuteUs, &minutes.next());
        levels.add(kLevelNames[static_cast<unsigned>(count.level)]);
        numbers.add(static_cast<int64_t>(count.n));
    }
    return static_cast<bool>(connection->query(
        "INSERT INTO counters (minute, log_level, slot, n)"
        " SELECT minute, log_level, $4, n"
        " FROM unnest($1::timestamptz[], $2::log_level[], $3::bigint[]) AS c (minute, log_level, n)"
        " ON CONFLICT (minute, log_level, slot) DO UPDATE SET n = counters.n + excluded.n",
        {minutes.close(), levels.close(), numbers.close(), slot.c_str()}));
}

bool insert_dead_letter(PgConnection* connection, const DeadLetter& letter, bool* inserted) {
    const std::string time = time_text(letter.receive_time_ms * 1000);
    const std::string producer = uuid_text(letter.producer_id);
    const std::string position = std::to_string(letter.position);
    const std::string id = to_string(letter.id);
    const std::string_view bytes = letter.bytes.substr(0, kDeadLetterBytesMax);
    const std::string reason = cut_text(letter.reason, kReasonBytesMax) +
                               (bytes.size() < letter.bytes.size() ? " (bytes are cut)" : "");
    const std::string bytea = bytea_text(bytes);
    const PgRows done = connection->query(
        "INSERT INTO dead_letters (t, u, position, stream_id, sqlstate, reason, row_bytes)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        {time.c_str(), producer.c_str(), position.c_str(), id.c_str(), letter.sqlstate.c_str(),
         reason.c_str(), bytea.c_str()});
    *inserted = done && done.affected() != 0;
    return static_cast<bool>(done);
}

bool reserve_row_ids(PgConnection* connection, int64_t* first_id) {
    const PgRows rows = connection->query("SELECT nextval('log_id_blocks')");
    if (rows) {
        *first_id = rows.integer(0, 0);
    }
    return static_cast<bool>(rows);
}

bool set_savepoint(PgConnection* connection) {
    return connection->execute("SAVEPOINT rows");
}

bool release_savepoint(PgConnection* connection) {
    return connection->execute("RELEASE SAVEPOINT rows");
}

bool undo_to_savepoint(PgConnection* connection) {
    return connection->execute("ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows");
}

bool LogRows::make_partition_of(int64_t created_at_us) {
    const int64_t day = floor_of(created_at_us, kDayUs);
    if (days_.count(day) != 0) {
        return true;
    }
    if (!make_partition(&connection_, PartitionKind::kLogDay, day)) {
        return false;
    }
    days_.insert(day);
    return true;
}

bool LogRows::next_id(int64_t* id) {
    if (next_id_ == ids_end_) {
        if (!reserve_row_ids(&connection_, &next_id_)) {
            return false;
        }
        ids_end_ = next_id_ + kRowIdBlock;
    }
    *id = next_id_++;
    return true;
}

bool LogRows::store(const std::vector<LogRow>& rows, std::vector<RefusedRow>* refused) {
    if (rows.empty()) {
        return true;
    }
    if (!set_savepoint(&connection_)) {
        return false;
    }
    if (copy(rows, 0, rows.size())) {
        return release_savepoint(&connection_) && count(rows, *refused);
    }
    if (connection_.error().failure != PgFailure::kBadData) {
        return false;
    }
    return search(rows, refused) && count(rows, *refused);
}

// After the COPY of all of them was refused.
bool LogRows::search(const std::vector<LogRow>& rows, std::vector<RefusedRow>* refused) {
    const auto named_in = [this](size_t first, size_t count) {
        const uint64_t line = connection_.error().copy_line;
        return line != 0 && line <= count ? first + line - 1 : RowPieces::kNotNamed;
    };
    RowPieces pieces;
    pieces.start(rows.size(), named_in(0, rows.size()));
    if (!undo_to_savepoint(&connection_)) {
        return false;
    }
    while (!pieces.empty()) {
        const RowRange piece = pieces.next();
        if (!set_savepoint(&connection_)) {
            return false;
        }
        if (copy(rows, piece.first, piece.count)) {
            if (!release_savepoint(&connection_)) {
                return false;
            }
            pieces.stored();
            continue;
        }
        const PgError why = connection_.error();
        if (why.failure != PgFailure::kBadData) {
            return false;
        }
        const uint64_t named = named_in(piece.first, piece.count);
        if (!undo_to_savepoint(&connection_)) {
            return false;
        }
        if (piece.count > 1) {
            pieces.refused(named);
            continue;
        }
        pieces.dropped();
        if (refused->empty() &&
            !copy_good_rows(&connection_, rows[piece.first].created_at_us / 1000)) {
            return false;
        }
        refused->push_back({static_cast<size_t>(piece.first), why.sqlstate, why.message});
    }
    return true;
}

bool LogRows::copy(const std::vector<LogRow>& rows, size_t first, size_t count) {
    size_t next = first;
    const auto next_chunk = [&](std::string* chunk) {
        for (; next < first + count && chunk->size() < kChunkBytes; ++next) {
            chunk->append(std::to_string(rows[next].id)).append("\t");
            append_time(rows[next].created_at_us, chunk);
            chunk->append("\t").append(rows[next].text).append("\n");
        }
        return !chunk->empty();
    };
    return copy_into_logs(&connection_, count, next_chunk, &chunk_);
}

bool LogRows::count(const std::vector<LogRow>& rows, const std::vector<RefusedRow>& refused) {
    std::map<std::pair<int64_t, Level>, uint64_t> sums;
    for (const LogRow& row : rows) {
        ++sums[{floor_of(row.created_at_us, kMinuteUs), level_of_row(row.text)}];
    }
    for (const RefusedRow& row : refused) {
        --sums[{floor_of(rows[row.index].created_at_us, kMinuteUs),
                level_of_row(rows[row.index].text)}];
    }
    // In the order of the keys, as everybody's, so that nobody waits in a circle.
    std::vector<MinuteCount> counts;
    for (const auto& [key, n] : sums) {
        if (n != 0) {
            counts.push_back({key.first, key.second, n});
        }
    }
    return counts.empty() || count_rows(&connection_, counts, slot_);
}

}  // namespace sluice

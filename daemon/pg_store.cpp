#include "daemon/pg_store.hpp"

#include <utility>

#include "daemon/load/copy_rows.hpp"
#include "daemon/pg_log_rows.hpp"
#include "daemon/pg_migrate.hpp"
#include "daemon/pg_partition.hpp"
#include "daemon/pg_text.hpp"

namespace sluice {
namespace {

constexpr size_t kChunkBytes = 256 * 1024;
constexpr int64_t kCheckTimeoutMs = 2000;

}  // namespace

PgStore::PgStore(PgOptions options, std::string slot, PgDurability required)
    : connection_(std::move(options)), slot_(std::move(slot)), required_(required) {}

// Remembers why, and leaves no transaction behind.
bool PgStore::failed() {
    error_ = connection_.error();
    transaction_.reset();
    if (!connection_.is_open()) {
        error_.failure = PgFailure::kLost;
    }
    return false;
}

bool PgStore::connect() {
    transaction_.reset();
    if (!connection_.connect()) {
        return failed();
    }
    if (!schema_is_current(&connection_)) {
        // Closed first, so that it counts as lost: connecting is tried again before long.
        connection_.close();
        failed();
        if (error_.message.empty()) {
            error_.message = "the database lacks migrations: run sluiced migrate";
        }
        return false;
    }
    return is_durable();
}

// What is off while it runs is what the keeper says.
bool PgStore::is_durable() {
    PgDurability durability;
    if (!read_durability(&connection_, &durability)) {
        return failed();
    }
    const std::string off = what_is_off(durability, required_);
    if (off.empty()) {
        return true;
    }
    // Connecting is tried again before long.
    connection_.close();
    failed();
    error_.message = "postgres.durability is fsync, but off is " + off +
                     ": nothing is stored there until it is on";
    return false;
}

bool PgStore::check() {
    return connection_.ping(kCheckTimeoutMs) ? true : failed();
}

bool PgStore::make_partitions(const PgAction& action) {
    for (const int64_t day : action.log_days) {
        if (!make_partition(&connection_, PartitionKind::kLogDay, day)) {
            return failed();
        }
    }
    for (const int64_t hour : action.ledger_hours) {
        if (!make_partition(&connection_, PartitionKind::kLedgerHour, hour)) {
            return failed();
        }
    }
    return true;
}

bool PgStore::reserve_ids(PgReply* reply) {
    return reserve_row_ids(&connection_, &reply->first_id) ? true : failed();
}

// Takes the keys that nobody had before. A statement of its own before the ledger's, so that every
// loader takes its locks in one order, all keys and then all frames, each sorted: two of them
// cannot wait for each other.
bool PgStore::insert_keys(const Batch& batch, std::set<std::string>* new_keys) {
    ArrayText times, producers;
    bool any = false;
    for (const BatchFrame& frame : batch.frames()) {
        if (is_keyed(frame.frame.producer_id)) {
            append_time(frame.frame.receive_time_ms * 1000, &times.next());
            producers.add(uuid_text(frame.frame.producer_id));
            any = true;
        }
    }
    if (!any) {
        return true;
    }
    const PgRows rows = connection_.query(
        "INSERT INTO idempotency (t, u)"
        " SELECT t, u FROM unnest($1::timestamptz[], $2::uuid[]) AS f (t, u) ORDER BY u"
        " ON CONFLICT DO NOTHING RETURNING replace(u::text, '-', '')",
        {times.close(), producers.close()});
    for (int row = 0; rows && row < rows.count(); ++row) {
        new_keys->emplace(rows.text(row, 0));
    }
    return static_cast<bool>(rows);
}

bool PgStore::insert_ledger(const Batch& batch, PgReply* reply) {
    transaction_ = std::make_unique<Transaction>(&connection_);
    devices_.clear();
    // Acknowledging in Redis is an action outside: it wants the commit on disk, whatever the
    // server's default is.
    if (!transaction_->begin() || !connection_.execute("SET LOCAL synchronous_commit = on")) {
        return failed();
    }
    std::set<std::string> new_keys;
    if (!insert_keys(batch, &new_keys)) {
        return failed();
    }
    ArrayText times, producers, stream_ids, first_ids, records;
    for (const BatchFrame& frame : batch.frames()) {
        const std::string producer = uuid_text(frame.frame.producer_id);
        if (is_keyed(frame.frame.producer_id) && new_keys.count(producer) == 0) {
            continue;
        }
        append_time(frame.frame.receive_time_ms * 1000, &times.next());
        producers.add(producer);
        stream_ids.add(to_string(frame.id));
        first_ids.add(frame.first_row_id);
        records.add(static_cast<int64_t>(frame.frame.records));
    }
    const PgRows rows = connection_.query(
        "INSERT INTO ledger (t, u, stream_id, first_row_id, n)"
        " SELECT * FROM unnest($1::timestamptz[], $2::uuid[], $3::text[], $4::bigint[], $5::int[])"
        " ON CONFLICT DO NOTHING RETURNING first_row_id",
        {times.close(), producers.close(), stream_ids.close(), first_ids.close(), records.close()});
    if (!rows) {
        return failed();
    }
    reply->fresh_ids.reserve(static_cast<size_t>(rows.count()));
    for (int row = 0; row < rows.count(); ++row) {
        reply->fresh_ids.push_back(rows.integer(row, 0));
    }
    return true;
}

bool PgStore::copy(const PgAction& action, PgReply* reply) {
    if (!action.careful) {
        return copy_rows(action, reply) ? true : failed();
    }
    if (!set_savepoint(&connection_)) {
        return failed();
    }
    if (copy_rows(action, reply)) {
        return release_savepoint(&connection_) ? true : failed();
    }
    if (connection_.error().failure != PgFailure::kBadData) {
        return failed();
    }
    error_ = connection_.error();
    return undo_to_savepoint(&connection_) ? false : failed();
}

// False with the connection's error() set, the transaction being as the failure left it.
bool PgStore::copy_rows(const PgAction& action, PgReply* reply) {
    copied_.clear();
    CopyRows rows(*action.batch, action.rows, &copied_);
    const auto next_chunk = [&rows](std::string* chunk) {
        return rows.next_chunk(kChunkBytes, chunk);
    };
    if (!copy_into_logs(&connection_, action.rows.count, next_chunk, &chunk_)) {
        return false;
    }
    reply->counts = rows.counts();
    if (devices_.empty()) {
        std::swap(devices_, copied_);
    } else {
        devices_.add(copied_);
    }
    return true;
}

bool PgStore::copy_good_rows(const DeadLetter& in_place_of) {
    return sluice::copy_good_rows(&connection_, in_place_of.receive_time_ms) ? true : failed();
}

bool PgStore::insert_dead_letter(const DeadLetter& letter, PgReply* reply) {
    return sluice::insert_dead_letter(&connection_, letter, &reply->inserted) ? true : failed();
}

bool PgStore::count(const std::vector<MinuteCount>& counts) {
    return count_rows(&connection_, counts, slot_) ? true : failed();
}

bool PgStore::prune_ledger(int64_t before_hour, PgReply* reply) {
    if (!prune_keys(&connection_, before_hour, &reply->more)) {
        return failed();
    }
    return reply->more || prune_ledger_partitions(&connection_, before_hour) ? true : failed();
}

bool PgStore::commit() {
    if (!transaction_->commit()) {
        return failed();
    }
    transaction_.reset();
    return true;
}

}  // namespace sluice

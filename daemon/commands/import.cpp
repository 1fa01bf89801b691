// sluiced import: takes over the table of the system that was there before.
//
// Rows are read by their ids, in batches, held to the rules of a record as entries of other
// producers are, and stored in the transaction that remembers the last id: whatever ends it
// halfway, nothing is lost and nothing is there twice.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "daemon/commands/commands.hpp"
#include "daemon/commands/human.hpp"
#include "daemon/commands/progress.hpp"
#include "daemon/entry.hpp"
#include "daemon/load/batch.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/pg_log_rows.hpp"
#include "daemon/pg_migrate.hpp"

namespace sluice {
namespace {

constexpr Option kFrom = {"--from", true};
constexpr Option kTable = {"--table", true};

constexpr const char* kSlot = "import";
// A batch is full by the one or the other; what is fetched at once can go beyond.
constexpr size_t kBatchRows = 10000;
constexpr uint64_t kBatchBytes = 8 * 1024 * 1024;
constexpr const char* kFetch = "FETCH 100 FROM imported";

enum Column : int { kId, kDevice, kLevel, kMessage, kData, kCreatedUs };

PgOptions options_of(const Settings& settings, PgLogin login, const char* session) {
    PgOptions options;
    options.login = std::move(login);
    options.application_name = "sluiced-import";
    options.session = session;
    options.timeout_ms = settings.postgres_timeout_ms;
    return options;
}

class Import {
  public:
    Import(const Settings& settings, const std::string& from, std::string table)
        : from_(options_of(settings, {from, "", "", false},
                           "SET default_transaction_read_only = on; SET TimeZone = 'UTC';"
                           " SET idle_in_transaction_session_timeout = 0")),
          to_(options_of(settings, pg_login_of(settings, PgUser::kMigrator),
                         "SET TimeZone = 'UTC'")),
          table_(std::move(table)),
          rows_(&to_, kSlot) {}

    int run();

  private:
    // What a batch has become.
    struct Batch {
        std::vector<LogRow> rows;
        std::vector<DeadLetter> of_rows;  // what each would be if Postgres refused it
        std::vector<DeadLetter> letters;
        EntryBytes kept;
        int64_t last_id = 0;
        uint64_t bytes = 0;
    };

    bool connect();
    bool find_source();
    bool is_of_others();
    bool begin_or_go_on();
    bool import_all();
    bool open_cursor(Transaction* reading);
    bool read_batch(Batch* batch);
    bool add_row(const PgRows& rows, int row, Batch* batch);
    bool store(Batch* batch);
    bool remember(const Batch& batch, uint64_t refused);
    bool lost(const char* whose, const PgConnection& connection);

    PgConnection from_;
    PgConnection to_;
    std::string table_;   // quoted as needed
    std::string source_;  // its key in imports
    std::string name_;
    LogRows rows_;
    EntryReader reader_;
    int64_t last_id_ = 0;
    uint64_t taken_ = 0;
    uint64_t refused_ = 0;
    std::string error_;
};

bool Import::lost(const char* whose, const PgConnection& connection) {
    error_ = std::string(whose) + ": " + connection.error().message;
    return false;
}

int Import::run() {
    const bool done =
        connect() && find_source() && is_of_others() && begin_or_go_on() && import_all();
    printf("%s records taken over, %s refused and kept as dead letters\n",
           human_count(taken_).c_str(), human_count(refused_).c_str());
    if (!done) {
        fprintf(stderr, "sluiced: import: %s\n", one_line(error_, terminal_reads_utf8()).c_str());
        return kExitFailed;
    }
    return refused_ == 0 ? kExitGood : kExitFailed;
}

bool Import::connect() {
    if (!from_.connect()) {
        return lost("the other system's postgres", from_);
    }
    if (!to_.connect()) {
        return lost("postgres", to_);
    }
    if (!schema_is_current(&to_)) {
        error_ = to_.error().failure == PgFailure::kNone
                     ? "the database lacks migrations: run sluiced migrate"
                     : "postgres: " + to_.error().message;
        return false;
    }
    return true;
}

// By numbers: a table that is renamed stays the same one.
bool Import::find_source() {
    const PgRows rows = from_.query(
        "SELECT system_identifier || '/' || d.oid || '/' || c.oid, c.oid::regclass::text,"
        " d.datname || '.' || n.nspname || '.' || c.relname"
        " FROM pg_control_system(), pg_database AS d, pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE d.datname = current_database() AND c.oid = $1::regclass",
        {table_.c_str()});
    if (!rows) {
        return lost("the other system's postgres", from_);
    }
    source_ = std::string(rows.text(0, 0));
    table_ = std::string(rows.text(0, 1));
    name_ = std::string(rows.text(0, 2));
    return true;
}

// Taken over from itself, all would be there twice, and twice again each time.
bool Import::is_of_others() {
    const PgRows own = to_.query(
        "SELECT EXISTS (SELECT FROM pg_control_system(), pg_database AS d,"
        " pg_partition_tree('logs'::regclass) AS ours WHERE d.datname = current_database()"
        " AND system_identifier || '/' || d.oid || '/' || ours.relid::oid = $1)",
        {source_.c_str()});
    if (!own) {
        return lost("postgres", to_);
    }
    if (own.text(0, 0) == "t") {
        error_ = name_ + " is Sluice's own: --from and --table say where the other system's is";
        return false;
    }
    return true;
}

bool Import::begin_or_go_on() {
    const PgRows begun = to_.query(
        "INSERT INTO imports (source, name, last_id) VALUES ($1, $2, -9223372036854775808)"
        " ON CONFLICT DO NOTHING",
        {source_.c_str(), name_.c_str()});
    if (!begun) {
        return lost("postgres", to_);
    }
    const PgRows rows =
        to_.query("SELECT last_id, records FROM imports WHERE source = $1", {source_.c_str()});
    if (!rows) {
        return lost("postgres", to_);
    }
    last_id_ = rows.integer(0, 0);
    if (last_id_ != INT64_MIN) {
        fprintf(stderr, "going on behind id %s, after %s records\n",
                std::string(rows.text(0, 0)).c_str(),
                human_count(static_cast<uint64_t>(rows.integer(0, 1))).c_str());
    }
    return true;
}

bool Import::import_all() {
    const std::string last = std::to_string(last_id_);
    const PgRows range =
        from_.query(("SELECT min(id), max(id) FROM " + table_ + " WHERE id > $1::bigint").c_str(),
                    {last.c_str()});
    if (!range) {
        return lost("the other system's postgres", from_);
    }
    // Unsigned, as ids may be as far apart as numbers can.
    const auto first = static_cast<uint64_t>(range.integer(0, 0));
    Progress progress("ids", static_cast<uint64_t>(range.integer(0, 1)) - first + 1);
    Transaction reading(&from_);
    if (!open_cursor(&reading)) {
        return lost("the other system's postgres", from_);
    }
    for (;;) {
        Batch batch;
        if (!read_batch(&batch)) {
            return false;
        }
        if (batch.rows.empty() && batch.letters.empty()) {
            return true;
        }
        if (!store(&batch)) {
            return false;
        }
        last_id_ = batch.last_id;
        progress.at(static_cast<uint64_t>(last_id_) - first + 1);
    }
}

// A time that is beyond comes as none: it is a broken clock, and no day to make a partition for.
bool Import::open_cursor(Transaction* reading) {
    return reading->begin() &&
           from_.execute(
               "DECLARE imported NO SCROLL CURSOR FOR SELECT id, device_id, log_level, message,"
               " log_data::text, CASE WHEN created_at >= '1970-01-01' AND created_at < '2100-01-01'"
               " THEN (extract(epoch FROM created_at) * 1000000)::bigint END FROM " +
               table_ + " WHERE id > '" + std::to_string(last_id_) + "'::bigint ORDER BY id");
}

bool Import::read_batch(Batch* batch) {
    while (batch->rows.size() + batch->letters.size() < kBatchRows && batch->bytes < kBatchBytes) {
        const PgRows rows = from_.query(kFetch);
        if (!rows) {
            return lost("the other system's postgres", from_);
        }
        if (rows.count() == 0) {
            break;
        }
        for (int row = 0; row < rows.count(); ++row) {
            if (!add_row(rows, row, batch)) {
                return lost("postgres", to_);
            }
        }
    }
    return true;
}

bool Import::add_row(const PgRows& rows, int row, Batch* batch) {
    const EntryField fields[] = {{"device_id", rows.text(row, kDevice)},
                                 {"log_level", rows.text(row, kLevel)},
                                 {"message", rows.text(row, kMessage)},
                                 {"log_data", rows.text(row, kData)}};
    for (const EntryField& field : fields) {
        batch->bytes += field.value.size();
    }
    batch->last_id = rows.integer(row, kId);
    const bool good_time = !rows.text(row, kCreatedUs).empty();
    const int64_t time_us = good_time ? rows.integer(row, kCreatedUs) : 0;

    DeadLetter letter;
    letter.id = {static_cast<uint64_t>(time_us / 1000), static_cast<uint64_t>(batch->last_id)};
    letter.receive_time_ms = time_us / 1000;
    const Entry entry = reader_.read(letter.id, fields, std::size(fields), &batch->kept);
    letter.producer_id = entry.frame.producer_id;
    if (!entry.plain || !good_time) {
        letter.reason = good_time ? std::string(entry.reason)
                                  : "created_at: missing, or not within 1970 to 2099";
        letter.bytes = batch->kept.keep(fields_text(fields, std::size(fields)));
        batch->letters.push_back(std::move(letter));
        return true;
    }
    letter.position = 0;
    letter.bytes = entry.frame.rows.substr(0, entry.frame.rows.size() - 1);
    LogRow log;
    log.created_at_us = time_us;
    log.text = std::string(letter.bytes);
    batch->of_rows.push_back(std::move(letter));
    if (!rows_.make_partition_of(time_us) || !rows_.next_id(&log.id)) {
        return false;
    }
    batch->rows.push_back(std::move(log));
    return true;
}

bool Import::store(Batch* batch) {
    Transaction transaction(&to_);
    std::vector<RefusedRow> refused;
    if (!transaction.begin() || !to_.execute("SET LOCAL synchronous_commit = on") ||
        !rows_.store(batch->rows, &refused)) {
        return lost("postgres", to_);
    }
    for (RefusedRow& row : refused) {
        DeadLetter letter = std::move(batch->of_rows[row.index]);
        letter.sqlstate = std::move(row.sqlstate);
        letter.reason = std::move(row.reason);
        batch->letters.push_back(std::move(letter));
    }
    for (const DeadLetter& letter : batch->letters) {
        bool inserted = false;
        if (!insert_dead_letter(&to_, letter, &inserted)) {
            return lost("postgres", to_);
        }
    }
    const uint64_t stored = batch->rows.size() - refused.size();
    if (!remember(*batch, stored)) {
        return false;
    }
    if (!transaction.commit()) {
        return lost("postgres", to_);
    }
    taken_ += stored;
    refused_ += batch->letters.size();
    return true;
}

bool Import::remember(const Batch& batch, uint64_t stored) {
    const std::string last = std::to_string(last_id_);
    const std::string now_last = std::to_string(batch.last_id);
    const std::string records = std::to_string(stored);
    const std::string refused = std::to_string(batch.letters.size());
    const PgRows done = to_.query(
        "UPDATE imports SET last_id = $3, records = records + $4, refused = refused + $5,"
        " changed_at = now() WHERE source = $1 AND last_id = $2",
        {source_.c_str(), last.c_str(), now_last.c_str(), records.c_str(), refused.c_str()});
    if (!done) {
        return lost("postgres", to_);
    }
    if (done.affected() != 1) {
        error_ = "another import of " + name_ + " is at work";
        return false;
    }
    return true;
}

int run_import(const Arguments& arguments) {
    if (!arguments.has(kFrom.name)) {
        throw UsageError("--from DSN is wanted: where the other system's Postgres is");
    }
    const std::string table = arguments.has(kTable.name) ? arguments.value(kTable.name) : "logs";
    return Import(settings_of(arguments), arguments.value(kFrom.name), table).run();
}

}  // namespace

const Command& import_command() {
    static const Command command = {
        "import",
        "takes over the table of the system that was there before",
        R"(usage: sluiced import --from DSN [--table NAME] [--config FILE]

Copies a table with the columns id, device_id, log_level, message, log_data and created_at into
logs, in the order of its ids, by batches. Each batch is stored in the transaction that remembers
its last id: interrupted, it goes on where it was when it is run again, and run once more it takes
what has been added. created_at is kept; without a time zone it is taken for UTC. Row ids are new.

What is no record by today's rules is kept in dead_letters, with the reason; one without a
created_at that can be used, as of 1970. Days get their partitions; storage.keep_days and keep_mb
hold for them too.

Stop the other system first, or what it stores meanwhile under smaller ids is left out. What is left
in its Redis stream needs no import: a loader reads its entries as they are. If that is another
Redis than the edge's, run one there until sluiced status says that nothing waits:

  SLUICED_REDIS_URL=redis://old-redis sluiced load --config sluiced.toml

  --from DSN      the other system's Postgres, as a connection string or URI of libpq; a password is
                  better kept in ~/.pgpass
  --table NAME    its table, with a schema if need be (logs)
  --config FILE   settings; without it those of the environment, and the defaults

example:
  sluiced import --from 'host=old-db dbname=logs user=reader' --table public.logs

exit: 0 all of it is taken over, 1 failed or some was refused, 2 wrong usage or settings
)",
        {kFrom, kTable},
        false,
        run_import};
    return command;
}

}  // namespace sluice

#include "daemon/pg_partition.hpp"

#include <ctime>

#include "daemon/log.hpp"

namespace sluice {
namespace {

// A piece takes a fifth of a second, so that batches need not wait long.
constexpr int64_t kKeysPerPiece = 20000;

constexpr int64_t seconds_of(PartitionKind kind) noexcept {
    return kind == PartitionKind::kLogDay ? 86400 : 3600;
}

}  // namespace

std::string partition_name(PartitionKind kind, int64_t number) {
    const time_t start = static_cast<time_t>(number * seconds_of(kind));
    tm parts{};
    gmtime_r(&start, &parts);
    char text[32];
    const bool is_day = kind == PartitionKind::kLogDay;
    strftime(text, sizeof text, is_day ? "logs_%Y%m%d" : "ledger_%Y%m%d%H", &parts);
    return text;
}

bool make_partition(PgConnection* connection, PartitionKind kind, int64_t number) {
    const std::string text = std::to_string(number);
    const PgRows made =
        connection->query("SELECT sluice_make_partition($1, $2)",
                          {kind == PartitionKind::kLogDay ? "logs" : "ledger", text.c_str()});
    if (made && !made.text(0, 0).empty()) {
        log_info("partition made").with("name", made.text(0, 0));
    }
    return static_cast<bool>(made);
}

bool prune_keys(PgConnection* connection, int64_t before_hour, bool* more) {
    const std::string hour = std::to_string(before_hour);
    const std::string most = std::to_string(kKeysPerPiece);
    const PgRows deleted =
        connection->query("SELECT sluice_forget_keys($1, $2)", {hour.c_str(), most.c_str()});
    *more = deleted && deleted.integer(0, 0) == kKeysPerPiece;
    return static_cast<bool>(deleted);
}

bool prune_ledger_partitions(PgConnection* connection, int64_t before_hour) {
    const std::string hour = std::to_string(before_hour);
    const PgRows dropped = connection->query("SELECT sluice_forget_frames($1)", {hour.c_str()});
    if (dropped && dropped.integer(0, 0) != 0) {
        log_info("ledger pruned")
            .with("partitions", dropped.integer(0, 0))
            .with("before", partition_name(PartitionKind::kLedgerHour, before_hour));
    }
    return static_cast<bool>(dropped);
}

}  // namespace sluice

#include "daemon/commands/status_report.hpp"

#include <algorithm>

#include "daemon/commands/human.hpp"
#include "daemon/commands/json_out.hpp"

namespace sluice {
namespace {

constexpr size_t kDaysShown = 7;
// Of Redis' memory, besides its rows, as measured: 50 to 60 (conf/README.md, "Sizing").
constexpr uint64_t kEntryBytes = 64;

std::string line(const char* name, const std::string& text) {
    std::string head(name);
    head.resize(14, ' ');
    return head + text + "\n";
}

std::string amount(const Amount& amount, const char* each) {
    return human_count(amount.records) + " records" + each + ", " + human_bytes(amount.bytes) +
           each;
}

std::string redis_line(const RedisStatusReport& redis) {
    if (!redis.error.empty()) {
        return "cannot be asked: " + redis.error;
    }
    std::string text = redis.durability ? std::string("durability ") + name_of(*redis.durability)
                                        : "does not tell how durable it is";
    if (!redis.used_bytes) {
        return text;
    }
    text += "; " + human_bytes(*redis.used_bytes);
    if (redis.bytes_max == 0) {
        return text + " used, and no maxmemory";
    }
    const uint64_t percent = *redis.used_bytes * 100 / std::max<uint64_t>(redis.bytes_max, 1);
    text += " of " + human_bytes(redis.bytes_max) + " used (" + std::to_string(percent) + " %)";
    const std::optional<double> hold = hold_seconds(redis);
    return text + (hold ? "; full in " + human_seconds(*hold) +
                              " at the present rate if Postgres stays away"
                        : "; nothing comes in now");
}

std::string backlog_line(const RedisStatusReport& redis) {
    if (!redis.backlog_entries) {
        return "unknown";
    }
    if (*redis.backlog_entries == 0) {
        return "nothing waits";
    }
    std::string text = amount(redis.backlog, "") + ", in " + human_count(*redis.backlog_entries) +
                       (*redis.backlog_entries == 1 ? " entry" : " entries");
    if (redis.oldest_age_s) {
        text += "; the oldest for " + human_seconds(*redis.oldest_age_s);
    }
    const std::optional<double> gone = drain_seconds(redis);
    return text + (gone ? "; gone in " + human_seconds(*gone) : "; it does not become less");
}

std::string loader_line(const RedisStatusReport& redis) {
    return !redis.loader_tells ? "none tells that it runs: sluiced load"
           : redis.postgres_up ? "runs, and reaches Postgres"
                               : "runs, and cannot reach Postgres: see its log";
}

std::string postgres_text(const PostgresStatusReport& postgres) {
    if (!postgres.error.empty()) {
        return line("postgres", "cannot be asked: " + postgres.error);
    }
    std::string newest = "no record in what the ledger remembers";
    if (postgres.newest_age_s) {
        newest = "the newest stored record came " + human_seconds(*postgres.newest_age_s) + " ago";
    }
    std::string dead = "none";
    if (postgres.dead_letters != 0) {
        dead = human_count(postgres.dead_letters) + ", the newest of " +
               postgres.newest_dead_letter + ": see sluiced dead-letters list";
    }
    uint64_t bytes = 0;
    for (const PartitionStatus& day : postgres.logs) {
        bytes += day.bytes;
    }
    std::string text =
        line("postgres", "answers; " + human_count(postgres.last_hour_records) +
                             " records of the last hour are stored") +
        line("lag", newest) + line("dead letters", dead) +
        line("partitions", human_count(postgres.logs.size()) + " days of logs, " +
                               human_bytes(bytes) + "; " + human_count(postgres.ledger_partitions) +
                               " hours of ledger, " + human_bytes(postgres.ledger_bytes));
    for (size_t i = 0; i < std::min(postgres.logs.size(), kDaysShown); ++i) {
        text += line("", postgres.logs[i].name + "  " + human_bytes(postgres.logs[i].bytes));
    }
    if (postgres.logs.size() > kDaysShown) {
        text += line("", "...");
    }
    return text;
}

void add_amount(const Amount& amount, JsonOut* out) {
    out->key("records").number(amount.records).key("bytes").number(amount.bytes);
}

void add_optional(const char* name, const std::optional<double>& value, JsonOut* out) {
    out->key(name);
    if (value) {
        out->number(*value);
    } else {
        out->null();
    }
}

void add_redis(const RedisStatusReport& redis, JsonOut* out) {
    out->key("redis").open('{').key("error").string(redis.error);
    out->key("durability");
    redis.durability ? out->string(name_of(*redis.durability)) : out->null();
    out->key("used_bytes");
    redis.used_bytes ? out->number(*redis.used_bytes) : out->null();
    out->key("maxmemory_bytes").number(redis.bytes_max);
    add_optional("full_in_seconds", hold_seconds(redis), out);
    out->close('}').key("loader").open('{').key("runs").boolean(redis.loader_tells);
    out->key("reaches_postgres").boolean(redis.postgres_up).close('}');
    out->key("backlog");
    if (redis.backlog_entries) {
        out->open('{').key("entries").number(*redis.backlog_entries);
        add_amount(redis.backlog, out);
        add_optional("oldest_seconds", redis.oldest_age_s, out);
        add_optional("gone_in_seconds", drain_seconds(redis), out);
        out->close('}');
    } else {
        out->null();
    }
    out->key("intake_per_second");
    if (redis.intake) {
        out->open('{');
        add_amount(*redis.intake, out);
        out->close('}');
    } else {
        out->null();
    }
    out->key("drain_per_second").open('{');
    add_amount(redis.drain, out);
    out->close('}');
}

void add_postgres(const PostgresStatusReport& postgres, JsonOut* out) {
    out->key("postgres").open('{').key("error").string(postgres.error).close('}');
    if (!postgres.error.empty()) {
        return;
    }
    add_optional("lag_seconds", postgres.newest_age_s, out);
    out->key("last_hour_records").number(postgres.last_hour_records);
    out->key("dead_letters").number(postgres.dead_letters);
    out->key("partitions").open('[');
    for (const PartitionStatus& day : postgres.logs) {
        out->open('{').key("name").string(day.name).key("bytes").number(day.bytes).close('}');
    }
    out->close(']').key("ledger").open('{').key("partitions").number(postgres.ledger_partitions);
    out->key("bytes").number(postgres.ledger_bytes).close('}');
}

}  // namespace

std::optional<double> hold_seconds(const RedisStatusReport& redis) {
    if (!redis.used_bytes || redis.bytes_max == 0 || !redis.intake || redis.intake->bytes == 0) {
        return std::nullopt;
    }
    const uint64_t left =
        redis.bytes_max > *redis.used_bytes ? redis.bytes_max - *redis.used_bytes : 0;
    return static_cast<double>(left) /
           static_cast<double>(redis.intake->bytes + redis.intake_entries * kEntryBytes);
}

std::optional<double> drain_seconds(const RedisStatusReport& redis) {
    const uint64_t intake = redis.intake ? redis.intake->records : 0;
    if (!redis.backlog_entries) {
        return std::nullopt;
    }
    if (*redis.backlog_entries == 0) {
        return 0;
    }
    if (!redis.postgres_up || redis.drain.records <= intake) {
        return std::nullopt;
    }
    return static_cast<double>(redis.backlog.records) /
           static_cast<double>(redis.drain.records - intake);
}

std::string status_text(const StatusReport& report) {
    const RedisStatusReport& redis = report.redis;
    std::string text = line("redis", redis_line(redis));
    if (redis.error.empty()) {
        text +=
            line("loader", loader_line(redis)) + line("backlog", backlog_line(redis)) +
            line("intake", redis.intake ? amount(*redis.intake, "/s") : "unknown") +
            line("drain", redis.loader_tells ? amount(redis.drain, "/s") + ", while there is work"
                                             : "unknown");
    }
    return text + postgres_text(report.postgres);
}

std::string status_json(const StatusReport& report) {
    JsonOut out;
    out.open('{').key("ok").boolean(report.good());
    add_redis(report.redis, &out);
    add_postgres(report.postgres, &out);
    out.close('}');
    return out.text();
}

}  // namespace sluice

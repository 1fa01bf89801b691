#include "daemon/commands/postgres_rules.hpp"

#include <cstdlib>
#include <utility>

namespace sluice {
namespace {

// The first that detaches a partition without holding up those who read.
constexpr int kVersionLeast = 140000;

class PostgresJudgement {
  public:
    PostgresJudgement(const PostgresSettings& settings, bool durable)
        : settings_(settings), durable_(durable) {}

    Findings judge(bool in_recovery) {
        judge_version();
        judge_writable(in_recovery);
        judge_durability();
        judge_limits();
        return std::move(findings_);
    }

  private:
    void add(Verdict verdict, const char* check, std::string what, std::string todo = "") {
        findings_.push_back({verdict, check, "postgres: " + std::move(what), std::move(todo)});
    }
    [[nodiscard]] std::string value(std::string_view name) const {
        const auto found = settings_.find(name);
        return found == settings_.end() ? std::string() : found->second;
    }
    void judge_version();
    void judge_writable(bool in_recovery);
    void judge_durability();
    void judge_limits();

    const PostgresSettings& settings_;
    bool durable_;
    Findings findings_;
};

void PostgresJudgement::judge_version() {
    const std::string version = value("server_version");
    if (atoi(value("server_version_num").c_str()) < kVersionLeast) {
        add(Verdict::kFail, "postgres_version", "version " + version + " lacks what is needed",
            "install Postgres 14 at least");
    } else {
        add(Verdict::kOk, "postgres_version", "version " + version);
    }
    const std::string encoding = value("server_encoding");
    if (encoding != "UTF8") {
        add(Verdict::kFail, "postgres_encoding",
            "the database is encoded as " + encoding + ", which lacks characters that logs have",
            "make one that is not: createdb -E UTF8 -T template0 NAME");
    } else {
        add(Verdict::kOk, "postgres_encoding", "the database is UTF8");
    }
}

void PostgresJudgement::judge_writable(bool in_recovery) {
    if (in_recovery) {
        add(Verdict::kFail, "postgres_recovery",
            "it is a standby, or recovering: nothing is stored",
            "give the primary in postgres.dsn (target_session_attrs=read-write finds it), or"
            " pg_promote() this one");
    } else {
        add(Verdict::kOk, "postgres_recovery", "it is a primary");
    }
    if (!in_recovery && value("default_transaction_read_only") == "on") {
        add(Verdict::kFail, "postgres_read_only",
            "its transactions are read only (default_transaction_read_only)",
            "ALTER ROLE or DATABASE ... RESET default_transaction_read_only");
    }
}

void PostgresJudgement::judge_durability() {
    for (const auto& [name, check] :
         {std::make_pair("fsync", "postgres_fsync"),
          std::make_pair("full_page_writes", "postgres_full_page_writes")}) {
        if (value(name) == "on") {
            add(Verdict::kOk, check, std::string(name) + " is on");
        } else {
            add(durable_ ? Verdict::kFail : Verdict::kWarn, check,
                std::string(name) +
                    " is off: logs that were stored, and all else, may be lost in a"
                    " crash" +
                    (durable_ ? ", and so a loader stores nothing there" : ""),
                std::string(name) + " = on in postgresql.conf, then pg_reload_conf()");
        }
    }
    if (value("synchronous_commit") == "off") {
        add(Verdict::kWarn, "postgres_synchronous_commit",
            "synchronous_commit is off: only a loader's transactions switch it on",
            "synchronous_commit = on, if others store here what they must not lose");
    } else {
        add(Verdict::kOk, "postgres_synchronous_commit",
            "synchronous_commit is " + value("synchronous_commit"));
    }
    if (value("wal_level") == "minimal") {
        add(Verdict::kWarn, "postgres_wal_level",
            "wal_level is minimal: there can be neither standby nor backup of a running server",
            "wal_level = replica in postgresql.conf, and restart it");
    } else {
        add(Verdict::kOk, "postgres_wal_level", "wal_level is " + value("wal_level"));
    }
}

// Of a statement's time the loader has a limit of its own.
void PostgresJudgement::judge_limits() {
    bool limited = false;
    for (const char* name : {"lock_timeout", "idle_session_timeout", "transaction_timeout"}) {
        const std::string limit = value(name);
        if (!limit.empty() && limit != "0") {
            add(Verdict::kWarn, "postgres_limits",
                std::string(name) + " is " + limit +
                    " ms for this role: it may end what is merely"
                    " slow",
                std::string("ALTER ROLE or DATABASE ... SET ") + name + " = 0");
            limited = true;
        }
    }
    if (!limited) {
        add(Verdict::kOk, "postgres_limits", "nothing limits what the loader's own limits do not");
    }
}

}  // namespace

Findings judge_postgres(const PostgresSettings& settings, bool in_recovery, bool durable) {
    return PostgresJudgement(settings, durable).judge(in_recovery);
}

}  // namespace sluice

// sluiced check: who may do what in Postgres, and how it is spoken to.
#include <string>
#include <utility>
#include <vector>

#include "daemon/commands/check.hpp"
#include "daemon/pg_rights.hpp"

namespace sluice {
namespace {

// One of those who log in, and what is said of it.
struct Who {
    PgUser user;
    const char* name;
    const char* setting;
    const char* connection_check;
    const char* rights_check;
    const char* excess_check;
    const char* way_check;
};

constexpr Who kLoader = {
    PgUser::kLoader,       "loader",          "postgres.loader_dsn = \"user=sluice_loader\"",
    "postgres_connection", "postgres_rights", "postgres_excess",
    "postgres_tls"};
constexpr Who kReader = {PgUser::kReader,
                         "reader",
                         "postgres.reader_dsn = \"user=sluice_reader\"",
                         "postgres_reader_connection",
                         "postgres_reader_rights",
                         "postgres_reader_excess",
                         "postgres_reader_tls"};

std::string joined(const std::vector<std::string>& parts, const std::string& between,
                   const std::string& behind = "") {
    std::string text;
    for (const std::string& part : parts) {
        text.append(text.empty() ? "" : between).append(part).append(behind);
    }
    return text;
}

class RightsCheck {
  public:
    RightsCheck(PgConnection* loader, Findings* findings)
        : loader_(*loader), findings_(*findings) {}

    bool run(const Settings& settings, const PgOptions& options);

  private:
    void add(Verdict verdict, const char* check, std::string what, std::string todo = "") {
        findings_.push_back({verdict, check, "postgres: " + std::move(what), std::move(todo)});
    }
    void tell_rights(const Who& who, const RightsJudgement& judgement);
    void tell_way(const Who& who, const PgConnection& connection);
    void check_reader(PgOptions options);
    void check_migrator(PgOptions options);
    bool check_owner(const Settings& settings);

    PgConnection& loader_;
    Findings& findings_;
};

bool RightsCheck::run(const Settings& settings, const PgOptions& options) {
    tell_way(kLoader, loader_);
    RightsJudgement judgement;
    if (!judge_rights(&loader_, PgUser::kLoader, &judgement)) {
        return false;
    }
    tell_rights(kLoader, judgement);
    PgOptions of_reader = options;
    of_reader.login = pg_login_of(settings, PgUser::kReader);
    check_reader(std::move(of_reader));
    if (!settings.postgres_migrator_dsn.empty() ||
        !settings.postgres_migrator_password_file.empty()) {
        PgOptions of_migrator = options;
        of_migrator.login = pg_login_of(settings, PgUser::kMigrator);
        check_migrator(std::move(of_migrator));
    }
    return check_owner(settings);
}

void RightsCheck::tell_rights(const Who& who, const RightsJudgement& judgement) {
    const std::string role = "the " + std::string(who.name) + "'s role " + judgement.role;
    if (judgement.missing.empty()) {
        add(Verdict::kOk, who.rights_check, role + " may do all that it has to");
    } else {
        add(Verdict::kFail, who.rights_check, role + " lacks " + joined(judgement.missing, ", "),
            "GRANT " + joined(judgement.missing, "; GRANT ", " TO " + judgement.role));
    }
    if (judgement.excess.empty()) {
        add(Verdict::kOk, who.excess_check, role + " may do nothing else");
    } else {
        add(Verdict::kWarn, who.excess_check,
            role + " has rights that it need not have: " + joined(judgement.excess, ", "),
            judgement.owns
                ? std::string(who.setting) + ", a role with few rights, which conf/roles.sql makes"
                : "REVOKE them from " + judgement.role +
                      ", or from whom it has them: PUBLIC, or a role that it is in;"
                      " conf/roles.sql does so");
    }
}

void RightsCheck::tell_way(const Who& who, const PgConnection& connection) {
    const PgWay way = connection.way();
    if (way.local) {
        add(Verdict::kOk, who.way_check,
            "what the " + std::string(who.name) + " says to it stays on this machine");
    } else if (!way.tls) {
        add(Verdict::kWarn, who.way_check,
            "the " + std::string(who.name) + " speaks to " + way.host +
                " without TLS: logs can be read, and changed, on their way",
            "sslmode=verify-full and sslrootcert=CA.pem in postgres.dsn, and ssl = on there");
    } else if (!way.verified) {
        add(Verdict::kWarn, who.way_check,
            "the " + std::string(who.name) + " speaks to " + way.host +
                " by TLS, but whether that is the right server is not checked",
            "sslmode=verify-full and sslrootcert=CA.pem in postgres.dsn");
    } else {
        add(Verdict::kOk, who.way_check,
            "the " + std::string(who.name) + " speaks to " + way.host +
                " by TLS, and knows whom it speaks to");
    }
}

void RightsCheck::check_reader(PgOptions options) {
    PgConnection reader(std::move(options));
    RightsJudgement judgement;
    if (!reader.connect() || !judge_rights(&reader, PgUser::kReader, &judgement)) {
        add(Verdict::kFail, kReader.connection_check,
            "the reader's login: " + reader.error().message,
            "is postgres.reader_dsn right, and may this role connect (pg_hba.conf)? Queries are"
            " answered with 503 until then");
        return;
    }
    tell_way(kReader, reader);
    tell_rights(kReader, judgement);
}

// Nothing that runs needs it, so that it would be found out on the day on which it is needed.
void RightsCheck::check_migrator(PgOptions options) {
    PgConnection migrator(std::move(options));
    if (!migrator.connect()) {
        add(Verdict::kWarn, "postgres_migrator_connection",
            "the migrator's login: " + migrator.error().message,
            "are postgres.migrator_dsn and postgres.migrator_password_file right, and may this"
            " role connect (pg_hba.conf)? sluiced migrate, import and dead-letters log in so");
    }
}

// Who owns the tables, as that one runs what loaders run on them.
bool RightsCheck::check_owner(const Settings& settings) {
    PgParameters parameters;
    std::string wrong;
    const PgLogin login = pg_login_of(settings, PgUser::kMigrator);
    const std::string migrator =
        read_login(login, &parameters, &wrong) ? parameters["user"] : std::string();
    // Null if the migrator may, or its name is not known here.
    const PgRows rows = loader_.query(
        "SELECT quote_ident(o.rolname), o.rolsuper,"
        " EXISTS (SELECT FROM pg_proc WHERE proname LIKE 'sluice\\_%' AND pronamespace ="
        "  c.relnamespace AND NOT pg_has_role(proowner, c.relowner, 'USAGE')),"
        " (SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = $1"
        "  AND NOT pg_has_role(oid, c.relowner, 'USAGE'))"
        " FROM pg_class AS c JOIN pg_roles AS o ON o.oid = relowner"
        " WHERE c.oid = to_regclass('logs')",
        {migrator.c_str()});
    if (!rows || rows.count() == 0) {
        return static_cast<bool>(rows);
    }
    const std::string owner(rows.text(0, 0));
    const char* const hand_over =
        "run conf/roles.sql as a superuser: it makes sluice_migrator own"
        " all of it";
    if (rows.text(0, 2) == "t") {
        add(Verdict::kFail, "postgres_owner",
            "the tables belong to " + owner + ", and what makes their partitions to somebody else",
            hand_over);
    } else if (!rows.text(0, 3).empty()) {
        add(Verdict::kFail, "postgres_owner",
            "the tables belong to " + owner + ", and sluiced migrate would come as " +
                std::string(rows.text(0, 3)) + ", who may not change them",
            "postgres.migrator_dsn = \"user=" + owner + "\"; or " + hand_over);
    } else if (rows.text(0, 1) == "t") {
        add(Verdict::kWarn, "postgres_owner",
            "the tables belong to " + owner +
                ", a superuser: what makes their partitions could do everything",
            hand_over);
    } else {
        add(Verdict::kOk, "postgres_owner", "the tables belong to " + owner);
    }
    return true;
}

}  // namespace

bool check_rights(PgConnection* loader, const Settings& settings, const PgOptions& options,
                  Findings* findings) {
    return RightsCheck(loader, findings).run(settings, options);
}

}  // namespace sluice

// sluiced check: what is wrong, and what to do about it.
#include "daemon/commands/check.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>

#include "daemon/commands/commands.hpp"
#include "daemon/commands/human.hpp"
#include "daemon/commands/json_out.hpp"
#include "daemon/redis_facts.hpp"

namespace sluice {
namespace {

constexpr Option kDurability = {"--durability", true};
constexpr Option kJson = {"--json", false};

// Others may not even enter the folder, but a mode that keeps them out of the file is sure.
void check_password_files(const Settings& settings, Findings* findings) {
    const std::set<std::string> paths = {
        settings.redis_password_file,           settings.redis_reader_password_file,
        settings.postgres_password_file,        settings.postgres_loader_password_file,
        settings.postgres_reader_password_file, settings.postgres_migrator_password_file};
    std::string open;
    for (const std::string& path : paths) {
        struct stat file {};
        if (stat(path.c_str(), &file) == 0 && (file.st_mode & S_IROTH) != 0) {
            open.append(" ").append(path);
        }
    }
    if (!open.empty()) {
        findings->push_back({Verdict::kWarn, "settings_password_files",
                             "settings: everybody on this machine may read the passwords in" + open,
                             "chmod o-rwx" + open});
    }
}

void check_settings(const Arguments& arguments, const Settings& settings, Findings* findings) {
    const std::string file = arguments.value("--config");
    findings->push_back(
        {Verdict::kOk, "settings",
         "settings: " + (file.empty() ? std::string("of the environment, no --config") : file) +
             " can be read",
         ""});
    if (settings.load_claim_idle_ms <= settings.postgres_timeout_ms) {
        findings->push_back(
            {Verdict::kWarn, "settings_claim_idle",
             "settings: load.claim_idle_ms is not above postgres.timeout_ms: what a loader is still"
             " storing may be taken over by another one, for nothing",
             "set load.claim_idle_ms to several times postgres.timeout_ms"});
    }
    check_password_files(settings, findings);
}

Findings find_all(const Arguments& arguments) {
    Findings findings;
    Settings settings;
    try {
        settings = settings_of(arguments);
    } catch (const SettingsError& error) {
        findings.push_back({Verdict::kFail, "settings", std::string("settings: ") + error.what(),
                            "mend it; conf/sluiced.toml has every setting with its default"});
        return findings;
    }
    check_settings(arguments, settings, &findings);
    Durability wanted = required_of_redis(settings);
    (void)parse_durability(arguments.value(kDurability.name), &wanted);
    check_redis(settings, wanted, &findings);
    check_postgres(settings, &findings);
    check_server(settings, &findings);
    return findings;
}

void print_text(const Findings& findings) {
    const bool utf8 = terminal_reads_utf8();
    for (const Finding& finding : findings) {
        // Servers' messages are part of it.
        std::string line = one_line(finding.what, utf8);
        if (!finding.todo.empty()) {
            line.append("  -> ").append(one_line(finding.todo, utf8));
        }
        printf("%-5s %s\n", name_of(finding.verdict), line.c_str());
    }
}

void print_json(const Findings& findings, bool good) {
    JsonOut out;
    out.open('{').key("ok").boolean(good).key("findings").open('[');
    for (const Finding& finding : findings) {
        out.open('{').key("check").string(finding.check);
        out.key("verdict").string(name_of(finding.verdict));
        out.key("what").string(finding.what).key("todo").string(finding.todo).close('}');
    }
    out.close(']').close('}');
    puts(out.text().c_str());
}

int run_check(const Arguments& arguments) {
    Durability wanted{};
    if (arguments.has(kDurability.name) &&
        !parse_durability(arguments.value(kDurability.name), &wanted)) {
        throw UsageError("--durability is fsync, everysec or memory");
    }
    const Findings findings = find_all(arguments);
    const bool good = std::none_of(findings.begin(), findings.end(), [](const Finding& finding) {
        return finding.verdict == Verdict::kFail;
    });
    if (arguments.has(kJson.name)) {
        print_json(findings, good);
    } else {
        print_text(findings);
    }
    return good ? kExitGood : kExitFailed;
}

}  // namespace

Finding judge_clock(const char* check, const char* whose, int64_t theirs_us, int64_t before_us,
                    int64_t after_us) {
    // A difference is one if it could not be the time that asking took.
    constexpr int64_t kWarnUs = 2 * 1000 * 1000;
    constexpr int64_t kFailUs = 3600LL * 1000 * 1000;
    const int64_t ahead_us = std::max<int64_t>(theirs_us - after_us, 0);
    const int64_t behind_us = std::max<int64_t>(before_us - theirs_us, 0);
    const int64_t off_us = std::max(ahead_us, behind_us);
    const std::string name = std::string(whose) + ": ";
    if (off_us < kWarnUs) {
        return {Verdict::kOk, check, name + "its clock agrees with this host's", ""};
    }
    return {off_us < kFailUs ? Verdict::kWarn : Verdict::kFail, check,
            name + "its clock is " + human_seconds(static_cast<double>(off_us) / 1e6) +
                (ahead_us > 0 ? " ahead of" : " behind") + " this host's",
            "keep all clocks with NTP (chrony): receive times, partitions and the time that the"
            " ledger is kept go by them"};
}

const Command& check_command() {
    static const Command command = {
        "check",
        "says what is wrong with settings, connections, rights, durability",
        R"(usage: sluiced check [--config FILE] [--durability LEVEL] [--json]

Reads the settings and asks Redis and Postgres whatever decides if logs are taken in, stored, and
kept as promised. Changes nothing, and may run at any time. A line for each thing, with what to do:

  ok     as it should be
  warn   works and keeps the promise, but somebody should look at it
  FAIL   does not work, or not as is promised

  --config FILE        settings; without it those of the environment, and the defaults
  --durability LEVEL   the least that Redis must give, as sluice_durability in nginx: fsync,
                       everysec or memory; without it what redis.durability says
  --json               {"ok":BOOL,"findings":[{"check","verdict","what","todo"}]}

examples:
  sluiced check --config /etc/sluice/sluiced.toml
  sluiced check --json | jq -r '.findings[] | select(.verdict == "FAIL") | .what'

exit: 0 nothing FAILs, 1 something does, 2 wrong usage
)",
        {kDurability, kJson},
        false,
        run_check};
    return command;
}

}  // namespace sluice

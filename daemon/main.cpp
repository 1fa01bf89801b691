// sluiced load | serve | migrate: the command line.
#include <getopt.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include "daemon/load/loader.hpp"
#include "daemon/log.hpp"
#include "daemon/pg_migrate.hpp"
#include "daemon/process.hpp"
#include "daemon/serve/server.hpp"
#include "daemon/settings.hpp"

namespace {

constexpr const char* kUsage =
    "usage: sluiced load|serve|migrate [--config FILE] [--pid-file FILE]\n"
    "\n"
    "  load      moves frames from the stream into Postgres, exactly once\n"
    "  serve     answers queries over HTTP\n"
    "  migrate   brings the database's schema up to date, and ends\n"
    "\n"
    "  --config FILE     settings; without it those of the environment and the defaults\n"
    "  --pid-file FILE   holds the process id while it runs\n"
    "  --help, --version\n"
    "\n"
    "Every setting of the file can be given as SLUICED_<SECTION>_<KEY> in the environment.\n";

constexpr int kExitUsage = 2;

struct CommandLine {
    std::string command;
    std::string config;
    std::string pid_file;
};

int usage_error(const char* what) {
    fprintf(stderr, "sluiced: %s\n%s", what, kUsage);
    return kExitUsage;
}

// -1 to go on, else the exit code.
int parse_command_line(int argc, char** argv, CommandLine* out) {
    static const option kOptions[] = {{"config", required_argument, nullptr, 'c'},
                                      {"pid-file", required_argument, nullptr, 'p'},
                                      {"help", no_argument, nullptr, 'h'},
                                      {"version", no_argument, nullptr, 'v'},
                                      {nullptr, 0, nullptr, 0}};
    for (int code; (code = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
        switch (code) {
            case 'c':
                out->config = optarg;
                break;
            case 'p':
                out->pid_file = optarg;
                break;
            case 'h':
                fputs(kUsage, stdout);
                return 0;
            case 'v':
                puts("sluiced " SLUICE_VERSION);
                return 0;
            default:
                return usage_error("unknown option");
        }
    }
    if (optind + 1 != argc) {
        return usage_error("one command is wanted");
    }
    out->command = argv[optind];
    return -1;
}

int run_migrate(const sluice::Settings& settings) {
    sluice::PgOptions options;
    options.dsn = settings.postgres_dsn;
    options.application_name = "sluiced-migrate";
    options.timeout_ms = settings.postgres_timeout_ms;
    sluice::PgConnection connection(std::move(options));
    if (!connection.connect() || !sluice::migrate(&connection)) {
        sluice::log_error("migrating failed")
            .with("sqlstate", connection.error().sqlstate)
            .with("error", connection.error().message);
        return 1;
    }
    sluice::log_info("the schema is up to date");
    return 0;
}

int run(const CommandLine& line) {
    const sluice::Settings settings = sluice::load_settings(line.config, environ);
    sluice::PidFile pid_file;
    std::string error;
    if (!pid_file.create(line.pid_file, &error)) {
        sluice::log_error(error);
        return 1;
    }
    if (line.command == "migrate") {
        return run_migrate(settings);
    }
    sluice::StopSignals signals;
    return line.command == "load" ? sluice::run_loader(settings, &signals)
                                  : sluice::run_server(settings, &signals);
}

}  // namespace

int main(int argc, char** argv) {
    CommandLine line;
    const int code = parse_command_line(argc, argv, &line);
    if (code >= 0) {
        return code;
    }
    if (line.command != "load" && line.command != "serve" && line.command != "migrate") {
        return usage_error("the commands are load, serve and migrate");
    }
    try {
        return run(line);
    } catch (const sluice::SettingsError& error) {
        sluice::log_error("settings are wrong").with("error", error.what());
        return kExitUsage;
    } catch (const std::exception& error) {
        sluice::log_error("failed").with("error", error.what());
        return 1;
    }
}

// scripts/stress: see kHelp in options.cpp.
#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>
#include <clocale>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "daemon/commands/arguments.hpp"
#include "t/stress/check.hpp"
#include "t/stress/client.hpp"
#include "t/stress/load.hpp"
#include "t/stress/report.hpp"

namespace {

using namespace sluice::stress;

constexpr int kNotGood = 1;
constexpr int kNotTried = 2;

std::string new_run() {
    unsigned bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != sizeof bits) {
        throw std::runtime_error("there is no randomness");
    }
    char text[16];
    snprintf(text, sizeof text, "%08x", bits);
    return text;
}

// Each is an open file, of which a process has 1,024 unless it asks for more.
void allow_connections(uint64_t count) {
    constexpr rlim_t kOtherFiles = 32;
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < count + kOtherFiles) {
        throw std::runtime_error("so many connections are not allowed here: see ulimit -Hn");
    }
    files.rlim_cur = std::max(files.rlim_cur, count + kOtherFiles);
    setrlimit(RLIMIT_NOFILE, &files);
}

// What cannot be written, reached, or read back, is found out before the load, not after it.
int run(const Options& options) {
    allow_connections(options.connections);
    std::ofstream json;
    if (!options.json.empty() && options.json != "-") {
        json.open(options.json);
        if (!json) {
            throw std::runtime_error("cannot write " + options.json);
        }
    }
    const GetAnswer answer = get(options, "/api/logs?limit=1", [](std::string_view) {});
    if (answer.status == 0 || (options.check && answer.status != 200)) {
        fprintf(stderr, "error: %s/api/logs: %s\n", options.url.c_str(),
                answer.status == 0 ? answer.error.c_str()
                                   : ("status " + std::to_string(answer.status) +
                                      "; with --no-check nothing is read back")
                                         .c_str());
        return kNotTried;
    }
    const Records records(new_run());
    Outcomes outcomes;
    const LoadFigures load = run_load(options, records, &outcomes);
    const CheckFigures check =
        options.check ? check_stored(options, records, outcomes) : CheckFigures();
    const Report report{options, records.run(), outcomes, load, check};
    if (options.json == "-") {
        printf("%s\n", report.json().c_str());
    } else {
        printf("%s", report.text().c_str());
    }
    if (json.is_open() && !(json << report.json() << "\n" << std::flush)) {
        throw std::runtime_error("cannot write all of " + options.json);
    }
    return report.good() ? 0 : kNotGood;
}

}  // namespace

int main(int argc, char** argv) {
    setlocale(LC_ALL, "");
    const std::vector<std::string> given(argv + 1, argv + argc);
    for (const std::string& word : given) {
        if (word == "--help" || word == "-h") {
            printf("%s", kHelp);
            return 0;
        }
    }
    try {
        const Options options = parse_options(given);
        curl_global_init(CURL_GLOBAL_DEFAULT);
        const int code = run(options);
        curl_global_cleanup();
        return code;
    } catch (const sluice::UsageError& error) {
        fprintf(stderr, "error: %s\nscripts/stress --help tells what there is\n", error.what());
    } catch (const std::exception& error) {
        fprintf(stderr, "error: %s\n", error.what());
    }
    return kNotTried;
}

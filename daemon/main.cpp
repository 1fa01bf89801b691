// sluiced COMMAND: the command line. What the commands do is in commands/.
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/commands/commands.hpp"
#include "daemon/log.hpp"
#include "daemon/nearest.hpp"

namespace {

using sluice::Command;
using sluice::kExitFailed;
using sluice::kExitGood;
using sluice::kExitUsage;

constexpr const char* kHelpEnd = R"(
  sluiced COMMAND --help   what it does, its options, an example
  sluiced --version

Settings come from --config FILE (TOML). Each of them can be given as SLUICED_<SECTION>_<KEY> in the
environment, which wins: redis.url is SLUICED_REDIS_URL.

first steps:
  sluiced migrate --config sluiced.toml     makes the tables
  sluiced check --config sluiced.toml       says what is wrong, and what to do about it
  sluiced load --config sluiced.toml        runs until it is stopped

exit: 0 good, 1 failed or something was found, 2 wrong usage or settings
)";

std::vector<const Command*> all_commands() {
    return {&sluice::load_command(),  &sluice::serve_command(),  &sluice::migrate_command(),
            &sluice::check_command(), &sluice::status_command(), &sluice::dead_letters_command(),
            &sluice::import_command()};
}

void print_help() {
    fputs("usage: sluiced COMMAND [OPTION...]\n\n", stdout);
    for (const Command* command : all_commands()) {
        printf("  %-14s %s\n", command->name, command->summary);
    }
    fputs(kHelpEnd, stdout);
}

int usage_error(const std::string& what, const std::string& help) {
    fprintf(stderr, "sluiced: %s (%s --help tells more)\n", what.c_str(), help.c_str());
    return kExitUsage;
}

int refuse_command(const std::string& name) {
    std::vector<std::string> names = {"--help", "--version"};
    for (const Command* command : all_commands()) {
        names.emplace_back(command->name);
    }
    return usage_error(
        "unknown command " + name + ": did you mean " + sluice::nearest(name, names) + "?",
        "sluiced");
}

int run(const Command& command, const std::vector<std::string>& given) {
    for (const std::string& word : given) {
        if (word == "--") {
            break;
        }
        if (word == "--help") {
            fputs(command.help, stdout);
            return kExitGood;
        }
    }
    try {
        std::vector<sluice::Option> options = command.options;
        options.push_back({"--config", true});
        const sluice::Arguments arguments(given, options);
        if (!command.takes_words && !arguments.words().empty()) {
            throw sluice::UsageError("nothing is known of " + arguments.words().front());
        }
        return command.run(arguments);
    } catch (const sluice::UsageError& error) {
        return usage_error(std::string(command.name) + ": " + error.what(),
                           std::string("sluiced ") + command.name);
    } catch (const sluice::SettingsError& error) {
        sluice::log_error("settings are wrong").with("error", error.what());
        return kExitUsage;
    } catch (const std::exception& error) {
        sluice::log_error("failed").with("error", error.what());
        return kExitFailed;
    }
}

}  // namespace

int main(int argc, char** argv) {
    // A peer that is gone is an error like others.
    signal(SIGPIPE, SIG_IGN);
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.empty()) {
        return usage_error("a command is wanted", "sluiced");
    }
    if (words[0] == "--help") {
        print_help();
        return kExitGood;
    }
    if (words[0] == "--version") {
        puts("sluiced " SLUICE_VERSION);
        return kExitGood;
    }
    for (const Command* command : all_commands()) {
        if (words[0] == command->name) {
            return run(*command, {words.begin() + 1, words.end()});
        }
    }
    return refuse_command(words[0]);
}

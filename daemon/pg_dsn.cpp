#include "daemon/pg_dsn.hpp"

#include <libpq-fe.h>

#include <memory>
#include <string_view>
#include <vector>

#include "daemon/nearest.hpp"

namespace sluice {
namespace {

using OptionsPtr = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;
using MessagePtr = std::unique_ptr<char, decltype(&PQfreemem)>;

std::vector<std::string> known_options() {
    std::vector<std::string> names;
    const OptionsPtr options(PQconndefaults(), &PQconninfoFree);
    for (const PQconninfoOption* option = options.get();
         option != nullptr && option->keyword != nullptr; ++option) {
        names.emplace_back(option->keyword);
    }
    return names;
}

// libpq: invalid connection option "hots"; invalid URI query parameter: "hots"
std::string unknown_option(std::string_view message) {
    if (message.find("invalid connection option") == std::string_view::npos &&
        message.find("invalid URI query parameter") == std::string_view::npos) {
        return {};
    }
    const size_t from = message.find('"');
    const size_t to = message.find('"', from + 1);
    return to == std::string_view::npos ? std::string()
                                        : std::string(message.substr(from + 1, to - from - 1));
}

}  // namespace

bool is_database_name(const std::string& dsn) {
    return !dsn.empty() && dsn.find('=') == std::string::npos &&
           dsn.find("://") == std::string::npos;
}

std::string judge_dsn(const std::string& dsn) {
    if (is_database_name(dsn)) {
        return {};
    }
    char* text = nullptr;
    const OptionsPtr options(PQconninfoParse(dsn.c_str(), &text), &PQconninfoFree);
    const MessagePtr message(text, &PQfreemem);
    if (options != nullptr) {
        return {};
    }
    const std::string name = unknown_option(message == nullptr ? "" : message.get());
    if (!name.empty()) {
        return "libpq has no option " + name + ", did you mean " + nearest(name, known_options()) +
               "?";
    }
    return "libpq cannot read it, is a value with spaces without its 'quotes'?";
}

}  // namespace sluice

#include "daemon/commands/arguments.hpp"

#include <algorithm>
#include <charconv>

#include "daemon/nearest.hpp"

namespace sluice {
namespace {

[[noreturn]] void refuse_unknown(const std::string& name, const std::vector<Option>& options) {
    std::vector<std::string> names = {"--help"};
    for (const Option& option : options) {
        names.emplace_back(option.name);
    }
    throw UsageError("unknown option " + name + ": did you mean " + nearest(name, names) + "?");
}

}  // namespace

Arguments::Arguments(const std::vector<std::string>& given, const std::vector<Option>& options) {
    for (size_t i = 0; i < given.size(); ++i) {
        const std::string& word = given[i];
        if (word == "--") {
            words_.insert(words_.end(), given.begin() + static_cast<ptrdiff_t>(i) + 1, given.end());
            return;
        }
        if (word.size() < 2 || word[0] != '-') {
            words_.push_back(word);
            continue;
        }
        const size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const auto known = std::find_if(options.begin(), options.end(),
                                        [&](const Option& option) { return name == option.name; });
        if (known == options.end()) {
            refuse_unknown(name, options);
        }
        std::string value;
        if (equals != std::string::npos) {
            if (!known->takes_value) {
                throw UsageError(name + " takes no value");
            }
            value = word.substr(equals + 1);
        } else if (known->takes_value) {
            if (i + 1 == given.size()) {
                throw UsageError(name + " wants a value behind it");
            }
            value = given[++i];
        }
        if (!options_.emplace(name, std::move(value)).second) {
            throw UsageError(name + " is given twice");
        }
    }
}

std::string Arguments::value(const char* option) const {
    const auto found = options_.find(option);
    return found == options_.end() ? std::string() : found->second;
}

int64_t Arguments::number(const char* option, int64_t least, int64_t most, int64_t fallback) const {
    return has(option) ? parse_number(value(option), option, least, most) : fallback;
}

int64_t parse_number(std::string_view text, const std::string& name, int64_t least, int64_t most) {
    int64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    if (parsed.ec != std::errc() || parsed.ptr != end || number < least || number > most) {
        throw UsageError(name + " must be a whole number, " + std::to_string(least) + " to " +
                         std::to_string(most));
    }
    return number;
}

}  // namespace sluice

// What stands behind a command's name: options, each with a value or without, and other words.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

struct Option {
    const char* name;  // "--config"
    bool takes_value;
};

// The text is one line that says what to write instead.
class UsageError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

class Arguments {
  public:
    // Throws UsageError. "--" ends the options.
    Arguments(const std::vector<std::string>& given, const std::vector<Option>& options);

    [[nodiscard]] bool has(const char* option) const { return options_.count(option) != 0; }
    // Empty if it was not given.
    [[nodiscard]] std::string value(const char* option) const;
    // A whole number in a range; fallback if it was not given. Throws UsageError.
    [[nodiscard]] int64_t number(const char* option, int64_t least, int64_t most,
                                 int64_t fallback) const;
    [[nodiscard]] const std::vector<std::string>& words() const noexcept { return words_; }

  private:
    std::map<std::string, std::string> options_;
    std::vector<std::string> words_;
};

// A whole number in a range, all of the text. Throws UsageError, which calls it name.
[[nodiscard]] int64_t parse_number(std::string_view text, const std::string& name, int64_t least,
                                   int64_t most);

}  // namespace sluice

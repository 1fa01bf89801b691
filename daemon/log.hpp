// The daemon's log: one line an event on stderr, a JSON object, or for a human
// "time LEVEL message key=value ...". Never holds what clients sent.
//   ERROR  data was lost, or an operator is needed
//   WARN   something failed and will be tried again
//   INFO   what a quiet day looks like
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

enum class LogLevel : uint8_t { kInfo, kWarn, kError };
enum class LogFormat : uint8_t { kAuto, kText, kJson };  // auto: text on a terminal, else JSON

// By their names in settings; false if there is none such.
[[nodiscard]] bool parse_log_level(std::string_view name, LogLevel* level) noexcept;
[[nodiscard]] bool parse_log_format(std::string_view name, LogFormat* format) noexcept;

// From now on, in all threads. Until it is called everything is logged, as text.
void set_log(LogLevel least, LogFormat format) noexcept;

// Names the consumer in every line that the calling thread logs from here on.
void log_as_consumer(std::string name);

class LogLine {
  public:
    LogLine(LogLevel level, std::string_view message);
    ~LogLine();  // writes the line
    LogLine(const LogLine&) = delete;
    LogLine& operator=(const LogLine&) = delete;

    LogLine& with(std::string_view key, std::string_view value);
    LogLine& with(std::string_view key, const char* value) {
        return with(key, std::string_view(value));
    }
    LogLine& with(std::string_view key, const std::string& value) {
        return with(key, std::string_view(value));
    }
    LogLine& with(std::string_view key, uint64_t value) {
        return number(key, std::to_string(value));
    }
    LogLine& with(std::string_view key, int64_t value) {
        return number(key, std::to_string(value));
    }
    LogLine& with(std::string_view key, int value) { return number(key, std::to_string(value)); }

  private:
    LogLine& number(std::string_view key, std::string_view digits);
    void append_key(std::string_view key);
    void append_text(std::string_view value);

    bool wanted_;
    bool json_;
    std::string line_;
};

inline LogLine log_info(std::string_view message) {
    return {LogLevel::kInfo, message};
}
inline LogLine log_warn(std::string_view message) {
    return {LogLevel::kWarn, message};
}
inline LogLine log_error(std::string_view message) {
    return {LogLevel::kError, message};
}

// Lets an event that repeats be logged once an interval, and says how many were left out.
class LogLimit {
  public:
    explicit LogLimit(int64_t interval_us) : interval_us_(interval_us) {}

    // True if the event is to be logged now; *left_out is then how many were not since the last.
    [[nodiscard]] bool allow(int64_t now_us, uint64_t* left_out) noexcept {
        if (logged_ && now_us - logged_at_us_ < interval_us_) {
            ++left_out_;
            return false;
        }
        logged_ = true;
        logged_at_us_ = now_us;
        *left_out = left_out_;
        left_out_ = 0;
        return true;
    }

  private:
    int64_t interval_us_;
    int64_t logged_at_us_ = 0;
    uint64_t left_out_ = 0;
    bool logged_ = false;
};

}  // namespace sluice

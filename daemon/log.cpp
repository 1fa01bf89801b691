#include "daemon/log.hpp"

#include <simdjson.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "common/json_text.hpp"
#include "common/timestamp.hpp"
#include "daemon/clock.hpp"

namespace sluice {
namespace {

// Of a text, such as Postgres' message: a line is to fit into what a pipe takes in one piece.
constexpr size_t kTextBytesMax = 1000;

std::atomic<LogLevel> least_level{LogLevel::kInfo};
std::atomic<bool> as_json{false};
std::atomic<bool> to_journal{false};

thread_local std::string thread_consumer;

const char* name_of(LogLevel level) noexcept {
    return level == LogLevel::kError ? "ERROR" : level == LogLevel::kWarn ? "WARN" : "INFO";
}

// The journal takes a line's priority from its beginning, as the kernel's log does.
const char* priority_of(LogLevel level) noexcept {
    return level == LogLevel::kError ? "<3>" : level == LogLevel::kWarn ? "<4>" : "<6>";
}

// systemd names the device and inode of the journal that it made stderr, which may be another by
// now.
bool stderr_is_journal() noexcept {
    const char* journal = getenv("JOURNAL_STREAM");
    struct stat status {};
    return journal != nullptr && fstat(STDERR_FILENO, &status) == 0 &&
           std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) == journal;
}

// Values come from elsewhere: they stay on their line, are UTF-8, and cannot drive a terminal.
std::string harmless(std::string_view value) {
    size_t bytes = std::min(value.size(), kTextBytesMax);
    while (bytes < value.size() && (value[bytes] & 0xc0) == 0x80) {
        --bytes;  // not within a character
    }
    std::string text(value.substr(0, bytes));
    const bool utf8 = simdjson::validate_utf8(text.data(), text.size());
    for (size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte < 0x20 || byte == 0x7f) {
            text[i] = ' ';
        } else if (byte > 0x7f && !utf8) {
            text[i] = '?';
        } else if (byte == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
            text.replace(i, 2, "?");  // U+0080 to U+009F are controls, too
        }
    }
    return bytes < value.size() ? text + "..." : text;
}

}  // namespace

bool parse_log_level(std::string_view name, LogLevel* level) noexcept {
    *level = name == "error"  ? LogLevel::kError
             : name == "warn" ? LogLevel::kWarn
                              : LogLevel::kInfo;
    return *level != LogLevel::kInfo || name == "info";
}

bool parse_log_format(std::string_view name, LogFormat* format) noexcept {
    *format = name == "json"   ? LogFormat::kJson
              : name == "text" ? LogFormat::kText
                               : LogFormat::kAuto;
    return *format != LogFormat::kAuto || name == "auto";
}

void set_log(LogLevel least, LogFormat format) noexcept {
    least_level = least;
    as_json =
        format == LogFormat::kJson || (format == LogFormat::kAuto && isatty(STDERR_FILENO) == 0);
    to_journal = stderr_is_journal();
}

void log_as_consumer(std::string name) {
    thread_consumer = std::move(name);
}

LogLine::LogLine(LogLevel level, std::string_view message)
    : wanted_(level >= least_level), json_(as_json) {
    if (!wanted_) {
        return;
    }
    char time[kTimestampBytes + 1];
    const std::string_view now(time, static_cast<size_t>(format_timestamp(wall_us(), time) - time));
    line_ = to_journal ? priority_of(level) : "";
    if (json_) {
        line_.append("{\"time\":\"").append(now).append("\",\"level\":\"").append(name_of(level));
        line_.append("\"");
        with("message", message);
    } else {
        line_.append(now).append(" ").append(name_of(level)).append(" ").append(message);
    }
    if (!thread_consumer.empty()) {
        with("consumer", thread_consumer);
    }
}

LogLine::~LogLine() {
    if (!wanted_) {
        return;
    }
    line_.append(json_ ? "}\n" : "\n");
    // One write a line, so that lines of several threads do not mix. Nothing to be done if the
    // log cannot be written.
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line_.data(), line_.size());
}

LogLine& LogLine::with(std::string_view key, std::string_view value) {
    if (wanted_) {
        append_key(key);
        append_text(harmless(value));
    }
    return *this;
}

LogLine& LogLine::number(std::string_view key, std::string_view digits) {
    if (wanted_) {
        append_key(key);
        line_.append(digits);
    }
    return *this;
}

void LogLine::append_key(std::string_view key) {
    if (json_) {
        line_.append(",\"").append(key).append("\":");
    } else {
        line_.append(" ").append(key).append("=");
    }
}

void LogLine::append_text(std::string_view value) {
    if (!json_ && !value.empty() && value.find_first_of(" \"=\\") == std::string_view::npos) {
        line_.append(value);
        return;
    }
    std::string escaped(value.size() * kJsonEscapeFactor, '\0');
    escaped.resize(static_cast<size_t>(json_escape(value, escaped.data()) - escaped.data()));
    line_.append("\"").append(escaped).append("\"");
}

}  // namespace sluice

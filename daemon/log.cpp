#include "daemon/log.hpp"

#include <unistd.h>

#include "common/timestamp.hpp"
#include "daemon/clock.hpp"

namespace sluice {
namespace {

// Values come from elsewhere (Postgres' and Redis' messages): they stay on their line, in their
// quotes, and cannot drive a terminal.
void append_value(std::string_view value, std::string* line) {
    const bool plain =
        !value.empty() && value.find_first_of(" \t\r\n\"=\\") == std::string_view::npos;
    if (!plain) {
        line->push_back('"');
    }
    for (const char c : value) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            line->push_back(' ');
            continue;
        }
        if (c == '"' || c == '\\') {
            line->push_back('\\');
        }
        line->push_back(c);
    }
    if (!plain) {
        line->push_back('"');
    }
}

thread_local std::string thread_consumer;

}  // namespace

void log_as_consumer(std::string name) {
    thread_consumer = std::move(name);
}

LogLine::LogLine(const char* level, std::string_view message) {
    char time[kTimestampBytes + 1];
    line_.append(time, static_cast<size_t>(format_timestamp(wall_us(), time) - time));
    line_.append(" ").append(level).append(" ").append(message);
    if (!thread_consumer.empty()) {
        with("consumer", thread_consumer);
    }
}

LogLine::~LogLine() {
    line_.push_back('\n');
    // One write a line, so that lines of several threads do not mix. Nothing to be done if the
    // log cannot be written.
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line_.data(), line_.size());
}

LogLine& LogLine::with(std::string_view key, std::string_view value) {
    line_.append(" ").append(key).append("=");
    append_value(value, &line_);
    return *this;
}

LogLine& LogLine::with(std::string_view key, uint64_t value) {
    return with(key, std::to_string(value));
}

LogLine& LogLine::with(std::string_view key, int64_t value) {
    return with(key, std::to_string(value));
}

}  // namespace sluice

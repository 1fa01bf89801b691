#include "daemon/commands/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/commands/human.hpp"

namespace sluice {
namespace {

constexpr int64_t kTerminalIntervalUs = 200 * 1000;
constexpr int64_t kLogIntervalUs = 10 * 1000 * 1000;

}  // namespace

std::string progress_text(const std::string& what, uint64_t done, uint64_t total, double seconds) {
    std::string text = what + " " + human_count(done);
    if (total != 0) {
        const uint64_t percent = std::min<uint64_t>(done * 100 / total, 100);
        text += " of " + human_count(total) + " (" + std::to_string(percent) + " %)";
    }
    if (seconds > 0 && done != 0) {
        const double rate = static_cast<double>(done) / seconds;
        text += ", " + human_count(static_cast<uint64_t>(rate)) + "/s";
        if (total > done) {
            text += ", " + human_seconds(static_cast<double>(total - done) / rate) + " left";
        }
    }
    return text;
}

Progress::Progress(std::string what, uint64_t total)
    : what_(std::move(what)),
      total_(total),
      terminal_(isatty(STDERR_FILENO) != 0),
      began_us_(steady_us()),
      told_us_(began_us_) {}

Progress::~Progress() {
    if (width_ != 0) {
        fputc('\n', stderr);
    }
}

void Progress::at(uint64_t done) {
    const int64_t now_us = steady_us();
    const bool ended = terminal_ && done == total_;
    if (!ended && now_us - told_us_ < (terminal_ ? kTerminalIntervalUs : kLogIntervalUs)) {
        return;
    }
    told_us_ = now_us;
    std::string text =
        progress_text(what_, done, total_, static_cast<double>(now_us - began_us_) / 1e6);
    if (!terminal_) {
        fprintf(stderr, "%s\n", text.c_str());
        return;
    }
    const size_t width = text.size();
    // Over what is left of a longer line.
    text.resize(std::max(width, width_), ' ');
    width_ = width;
    fprintf(stderr, "\r%s", text.c_str());
}

}  // namespace sluice

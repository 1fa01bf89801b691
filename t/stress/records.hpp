// The records of a run. Each is made of its number alone, so that what comes back can be compared
// with what was sent without keeping it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "t/stress/plan.hpp"

namespace sluice::stress {

class Records {
  public:
    explicit Records(std::string run) : run_(std::move(run)) {}

    [[nodiscard]] const std::string& run() const noexcept { return run_; }
    // What devices of this run are called; each has a number behind it.
    [[nodiscard]] std::string device_prefix() const { return "stress-" + run_ + "-"; }

    void append_message(uint64_t number, std::string* out) const;
    void append_record(uint64_t device, uint64_t number, std::string* out) const;
    // {"logs":[...]}, or the one record.
    void append_body(const Request& request, bool batch, std::string* out) const;

  private:
    std::string run_;
};

[[nodiscard]] std::string gzipped(std::string_view text);

}  // namespace sluice::stress

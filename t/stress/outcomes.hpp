// What became of each record, as far as its sender was told, and of requests by how they ended.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "t/stress/plan.hpp"

namespace sluice::stress {

// kResent: acknowledged, and sent twice: libcurl sends a request again by itself where a connection
// that it has used before ends without an answer. kUnknown: stored or not.
enum class Outcome : uint8_t { kNotSent, kAcknowledged, kResent, kRefused, kUnknown };

constexpr int kTaken = 200;

// How a request ended. status 0: there was no answer, for the reason in text.
struct Ending {
    int status = 0;
    std::string_view text;
    bool sent = false;    // it may have reached the server
    bool resent = false;  // more than once
};

class Outcomes {
  public:
    void ended(const Request& request, const Ending& ending);

    [[nodiscard]] const std::vector<Outcome>& of_records() const noexcept { return of_records_; }
    [[nodiscard]] uint64_t count(Outcome outcome) const;
    [[nodiscard]] uint64_t acknowledged() const {
        return count(Outcome::kAcknowledged) + count(Outcome::kResent);
    }
    [[nodiscard]] uint64_t requests() const noexcept { return requests_; }
    [[nodiscard]] uint64_t requests_taken() const noexcept { return requests_taken_; }
    // Requests that did not get a plain 200, by status and code.
    [[nodiscard]] const std::map<std::string, uint64_t>& failures() const { return failures_; }
    // By the server's clock; empty if nothing was acknowledged.
    [[nodiscard]] const std::string& first_received_at() const noexcept { return first_; }
    [[nodiscard]] const std::string& last_received_at() const noexcept { return last_; }

  private:
    void set(uint64_t first, uint64_t count, Outcome outcome);
    void taken(const Request& request, const Ending& ending);
    void set_rejected(const Request& request, const Ending& ending);

    std::vector<Outcome> of_records_;
    uint64_t requests_ = 0;
    uint64_t requests_taken_ = 0;
    std::map<std::string, uint64_t> failures_;
    std::string first_;
    std::string last_;
};

}  // namespace sluice::stress

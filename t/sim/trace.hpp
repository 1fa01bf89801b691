// What a schedule did, line by line, for the eyes of somebody who looks for the cause of a
// violation. Lines are made only if somebody reads them: `if (trace.on()) trace.line(...)`.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "daemon/load/actions.hpp"

namespace sluice::sim {

// A promise broken by the core: the schedule ends here.
class Violation : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

[[noreturn]] __attribute__((format(printf, 1, 2))) void violated(const char* format, ...);

class Trace {
  public:
    // now_us: the clock that lines are stamped with.
    Trace(bool on, const int64_t* now_us) noexcept : on_(on), now_us_(now_us) {}

    [[nodiscard]] bool on() const noexcept { return on_; }
    __attribute__((format(printf, 2, 3))) void line(const char* format, ...) const;

  private:
    bool on_;
    const int64_t* now_us_;
};

[[nodiscard]] std::string text_of(const RedisAction& action);
[[nodiscard]] std::string text_of(const RedisResult& result);
[[nodiscard]] std::string text_of(const PgAction& action);
[[nodiscard]] std::string text_of(const PgReply& reply);

}  // namespace sluice::sim

// What the loader logs: every failure at a limited rate, every loss, and now and then how far it
// has come.
#pragma once

#include <string>

#include "daemon/load/core.hpp"
#include "daemon/log.hpp"
#include "daemon/pg_connection.hpp"

namespace sluice {

class LoadReporter {
  public:
    void redis_answered(const RedisAction& action, const RedisResult& result,
                        const std::string& error, int64_t now_us);
    void pg_answered(const PgAction& action, const PgReply& reply, const PgError& error,
                     int64_t now_us);
    // After the core has moved.
    void look(const LoaderCore& core, int64_t now_us);
    void finish(const LoadCounts& counts);

  private:
    void rows_refused(const PgAction& action, const PgError& error, int64_t now_us);
    void dead_letter_made(const DeadLetter& letter, int64_t now_us);

    static constexpr int64_t kSecondUs = 1000 * 1000;

    LoadCounts seen_;
    LoadCounts progress_;
    int64_t progress_at_us_ = 0;
    bool redis_down_ = false;
    bool pg_down_ = false;
    LogLimit redis_limit_{kSecondUs};
    LogLimit group_limit_{kSecondUs};
    LogLimit gone_limit_{kSecondUs};
    LogLimit state_limit_{kSecondUs};
    LogLimit pg_limit_{kSecondUs};
    LogLimit rows_limit_{kSecondUs};
    LogLimit letter_limit_{kSecondUs};
    LogLimit left_limit_{10 * kSecondUs};
    LogLimit trim_limit_{60 * kSecondUs};
    LogLimit held_limit_{60 * kSecondUs};
    LogLimit late_limit_{60 * kSecondUs};
    LogLimit behind_limit_{60 * kSecondUs};
};

}  // namespace sluice

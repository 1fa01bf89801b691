// A loader's eye on what is promised by Redis: others than the edge, who looks for itself, write to
// the stream, too. Nothing is refused: what is in a Redis that gives too little is saved by storing
// it.
#pragma once

#include <string>

#include "daemon/load/load_metrics.hpp"
#include "daemon/log.hpp"
#include "daemon/redis_connection.hpp"
#include "daemon/settings.hpp"

namespace sluice {

class RedisWatch {
  public:
    explicit RedisWatch(const Settings& settings);

    // Connected for that only. Says what is too little: when it begins, and each minute.
    void look();

    // Of the last look.
    [[nodiscard]] const RedisWatchFigures& figures() const noexcept { return figures_; }
    [[nodiscard]] bool is_well() const noexcept { return figures_.given >= figures_.required; }

  private:
    void tell(const RedisDurability& given);

    RedisConnection redis_;
    LogLimit limit_;
    std::string why_;  // it was too little when it was last known; empty: it was not
    RedisWatchFigures figures_;
};

}  // namespace sluice

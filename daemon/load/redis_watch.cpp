#include "daemon/load/redis_watch.hpp"

#include "daemon/clock.hpp"
#include "daemon/redis_facts.hpp"
#include "daemon/redis_login.hpp"

namespace sluice {
namespace {

constexpr int64_t kTellIntervalUs = 60 * 1000 * 1000;
// Of a command: the keeper has more to do.
constexpr int64_t kTimeoutMs = 1000;

RedisLogin login_of(const Settings& settings) {
    RedisLogin login = redis_login_of(settings, "sluiced-keep");
    login.timeout_ms = kTimeoutMs;
    return login;
}

}  // namespace

RedisWatch::RedisWatch(const Settings& settings)
    : redis_(login_of(settings)), limit_(kTellIntervalUs) {
    figures_.required = required_of_redis(settings);
}

void RedisWatch::look() {
    figures_.known = false;
    // That Redis is away is what the consumers say.
    if (!redis_.connect()) {
        redis_.close();
        return;
    }
    const RedisDurability given = durability_of(ask_redis_facts(&redis_));
    figures_.known = redis_.is_open();
    redis_.close();
    if (figures_.known) {
        figures_.given = given.level;
        tell(given);
    }
}

void RedisWatch::tell(const RedisDurability& given) {
    const std::string why = is_well() ? "" : given.why;
    uint64_t left_out = 0;
    if (why != why_) {
        limit_ = LogLimit(kTellIntervalUs);
    }
    if (why.empty() && !why_.empty()) {
        log_info("redis is as durable as it must be again");
    } else if (!why.empty() && limit_.allow(steady_us(), &left_out)) {
        log_error("redis is less durable than redis.durability")
            .with("asked", name_of(figures_.required))
            .with("given", name_of(given.level))
            .with("why", why);
    }
    why_ = why;
}

}  // namespace sluice

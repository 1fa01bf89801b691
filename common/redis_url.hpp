// Where Redis is, in the one syntax that the edge's sluice_redis and the daemon's settings share:
//   redis://[user[:password]@]host[:port][/db]
//   unix://[user[:password]@]/path/to/redis.sock[?db=N]
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

struct RedisUrl {
    bool is_unix = false;
    std::string_view host;  // empty for a unix socket; an IPv6 address keeps its brackets
    uint16_t port = 6379;
    std::string_view path;  // of the unix socket
    std::string_view user;
    std::string_view password;
    uint32_t db = 0;
};

// The views point into url. On failure error says what is wrong with it, for a human.
[[nodiscard]] bool parse_redis_url(std::string_view url, RedisUrl* out,
                                   const char** error) noexcept;

}  // namespace sluice

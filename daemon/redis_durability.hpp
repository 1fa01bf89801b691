// What is known of a Redis, and what of it an acknowledged record outlives. Asks nobody.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace sluice {

// As the edge's sluice_durability, whose rules these are too.
enum class Durability : uint8_t { kUnsafe, kMemory, kEverysec, kFsync };

// False if it is none of fsync, everysec and memory.
[[nodiscard]] bool parse_durability(std::string_view text, Durability* out) noexcept;
[[nodiscard]] const char* name_of(Durability durability) noexcept;

struct RedisFacts {
    std::map<std::string, std::string, std::less<>> info;  // all of INFO
    std::string info_error;                                // why there is none
    std::map<std::string, std::string, std::less<>> config;
    std::string config_error;

    [[nodiscard]] bool complete() const { return info_error.empty() && config_error.empty(); }
    [[nodiscard]] std::string_view info_text(std::string_view name) const;
    [[nodiscard]] uint64_t info_number(std::string_view name) const;
    [[nodiscard]] std::string_view config_text(std::string_view name) const;
};

// appendonly was switched on, and the rewrite that makes the AOF is not done: until then Redis
// would load the one of before, or none. Where there was one before, in this life of Redis, it
// cannot be told from any other rewrite: who has seen appendonly off, as an edge has, knows more.
[[nodiscard]] bool aof_is_only_begun(const RedisFacts& facts);
inline constexpr const char* kAofOnlyBegun =
    "appendonly was switched on, and the AOF is not written yet";

// What CONFIG GET is asked for.
inline constexpr const char* kRedisConfigNames[] = {
    "appendonly", "appendfsync",      "no-appendfsync-on-rewrite",
    "save",       "maxmemory-policy", "stop-writes-on-bgsave-error"};

struct RedisDurability {
    Durability level = Durability::kUnsafe;
    const char* why = "";  // it is not more
};

// Of facts that are not complete: unsafe, as nobody knows.
[[nodiscard]] RedisDurability durability_of(const RedisFacts& facts);

}  // namespace sluice

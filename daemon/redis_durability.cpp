#include "daemon/redis_durability.hpp"

#include <charconv>

namespace sluice {
namespace {

constexpr const char* kNames[] = {"unsafe", "memory", "everysec", "fsync"};

std::string_view value_of(const std::map<std::string, std::string, std::less<>>& fields,
                          std::string_view name) {
    const auto found = fields.find(name);
    return found == fields.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace

bool parse_durability(std::string_view text, Durability* out) noexcept {
    for (const Durability level :
         {Durability::kMemory, Durability::kEverysec, Durability::kFsync}) {
        if (text == name_of(level)) {
            *out = level;
            return true;
        }
    }
    return false;
}

const char* name_of(Durability durability) noexcept {
    return kNames[static_cast<unsigned>(durability)];
}

std::string_view RedisFacts::info_text(std::string_view name) const {
    return value_of(info, name);
}

uint64_t RedisFacts::info_number(std::string_view name) const {
    const std::string_view text = info_text(name);
    uint64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

std::string_view RedisFacts::config_text(std::string_view name) const {
    return value_of(config, name);
}

bool aof_is_only_begun(const RedisFacts& facts) {
    return facts.config_text("appendonly") == "yes" && facts.info_number("aof_base_size") == 0 &&
           (facts.info_number("aof_rewrite_in_progress") != 0 ||
            facts.info_number("aof_rewrite_scheduled") != 0 ||
            facts.info_text("aof_last_bgrewrite_status") == "err");
}

RedisDurability durability_of(const RedisFacts& facts) {
    if (!facts.complete()) {
        return {Durability::kUnsafe, "it does not tell (may this user run INFO and CONFIG GET?)"};
    }
    if (facts.info_text("role") != "master") {
        return {Durability::kUnsafe, "it is not a master"};
    }
    if (facts.config_text("maxmemory-policy") != "noeviction") {
        return {Durability::kUnsafe, "its maxmemory-policy may evict the stream: set noeviction"};
    }
    if (facts.config_text("appendonly") != "yes") {
        return {Durability::kMemory, "appendonly is off"};
    }
    if (aof_is_only_begun(facts)) {
        return {Durability::kMemory, kAofOnlyBegun};
    }
    if (facts.info_text("aof_last_write_status") != "ok") {
        return {Durability::kMemory, "its last write to the AOF failed"};
    }
    if (facts.config_text("no-appendfsync-on-rewrite") != "no") {
        return {Durability::kMemory,
                "no-appendfsync-on-rewrite is on: nothing is synced while the AOF is rewritten"};
    }
    const std::string_view fsync = facts.config_text("appendfsync");
    if (fsync == "always") {
        return {Durability::kFsync, ""};
    }
    return {fsync == "everysec" ? Durability::kEverysec : Durability::kMemory,
            "appendfsync is lower"};
}

}  // namespace sluice

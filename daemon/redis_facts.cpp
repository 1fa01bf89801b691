#include "daemon/redis_facts.hpp"

#include <string_view>

#include "common/redis_url.hpp"

namespace sluice {

std::string redis_place(const Settings& settings) {
    RedisUrl url;
    const char* wrong = nullptr;
    if (!parse_redis_url(settings.redis_url, &url, &wrong)) {
        return wrong;
    }
    return url.is_unix ? std::string(url.path)
                       : std::string(url.host) + ":" + std::to_string(url.port);
}

Durability required_of_redis(const Settings& settings) {
    Durability required = Durability::kFsync;
    (void)parse_durability(settings.redis_durability, &required);  // settings were judged
    return required;
}

RedisFacts ask_redis_facts(RedisConnection* redis) {
    RedisFacts facts;
    const RedisValue info = redis->ask({"INFO"});
    if (info.failed()) {
        facts.info_error = info.text;
    }
    for (std::string_view rest = info.text; facts.info_error.empty() && !rest.empty();) {
        const size_t end = std::min(rest.find("\r\n"), rest.size());
        const std::string_view line = rest.substr(0, end);
        const size_t colon = line.find(':');
        if (colon != std::string_view::npos) {
            facts.info.emplace(line.substr(0, colon), line.substr(colon + 1));
        }
        rest.remove_prefix(std::min(end + 2, rest.size()));
    }
    for (const char* name : kRedisConfigNames) {
        const RedisValue config = redis->ask({"CONFIG", "GET", name});
        if (config.failed()) {
            facts.config_error = config.text;
            break;
        }
        facts.config.merge(fields_of(config));
    }
    return facts;
}

std::map<std::string, std::string, std::less<>> fields_of(const RedisValue& reply) {
    std::map<std::string, std::string, std::less<>> fields;
    for (size_t i = 0; i + 1 < reply.elements.size(); i += 2) {
        const RedisValue& value = reply.elements[i + 1];
        fields[reply.elements[i].text] =
            value.kind == RedisValue::Kind::kInteger ? std::to_string(value.integer) : value.text;
    }
    return fields;
}

}  // namespace sluice

#include "common/redis_url.hpp"

#include "common/decimal.hpp"

namespace sluice {
namespace {

bool take_prefix(std::string_view* text, std::string_view prefix) {
    if (text->substr(0, prefix.size()) != prefix) {
        return false;
    }
    text->remove_prefix(prefix.size());
    return true;
}

void take_credentials(std::string_view* rest, RedisUrl* out) {
    const size_t host_end = rest->find('/');
    const size_t at = rest->substr(0, host_end).rfind('@');
    if (at == std::string_view::npos) {
        return;
    }
    const std::string_view credentials = rest->substr(0, at);
    rest->remove_prefix(at + 1);
    const size_t colon = credentials.find(':');
    out->user = credentials.substr(0, colon);
    if (colon != std::string_view::npos) {
        out->password = credentials.substr(colon + 1);
    }
}

bool parse_unix(std::string_view rest, RedisUrl* out, const char** error) {
    out->is_unix = true;
    take_credentials(&rest, out);
    const size_t question = rest.find('?');
    out->path = rest.substr(0, question);
    if (out->path.empty() || out->path.front() != '/') {
        *error = "a unix socket needs an absolute path, as in unix:///run/redis.sock";
        return false;
    }
    // sockaddr_un.sun_path
    if (out->path.size() > 107) {
        *error = "the path of a unix socket must not be longer than 107 bytes";
        return false;
    }
    if (question == std::string_view::npos) {
        return true;
    }
    std::string_view args = rest.substr(question + 1);
    if (!take_prefix(&args, "db=") || !parse_decimal(args, UINT16_MAX, &out->db)) {
        *error = "after the path only ?db=N may follow";
        return false;
    }
    return true;
}

bool parse_tcp(std::string_view rest, RedisUrl* out, const char** error) {
    take_credentials(&rest, out);
    const size_t slash = rest.find('/');
    if (slash != std::string_view::npos) {
        const std::string_view db = rest.substr(slash + 1);
        if (!db.empty() && !parse_decimal(db, UINT16_MAX, &out->db)) {
            *error = "the database after the / must be a number";
            return false;
        }
        rest = rest.substr(0, slash);
    }
    // The brackets of an IPv6 address hold colons of their own.
    const size_t bracket = rest.rfind(']');
    const size_t colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
    if (colon != std::string_view::npos) {
        uint32_t port = 0;
        if (!parse_decimal(rest.substr(colon + 1), UINT16_MAX, &port) || port == 0) {
            *error = "the port must be a number from 1 to 65535";
            return false;
        }
        out->port = static_cast<uint16_t>(port);
    }
    out->host = rest.substr(0, colon);
    if (out->host.empty()) {
        *error = "the host is missing";
        return false;
    }
    return true;
}

}  // namespace

bool parse_redis_url(std::string_view url, RedisUrl* out, const char** error) noexcept {
    *out = RedisUrl();
    if (take_prefix(&url, "unix://")) {
        return parse_unix(url, out, error);
    }
    if (take_prefix(&url, "redis://")) {
        return parse_tcp(url, out, error);
    }
    *error = "it must begin with redis:// or unix://";
    return false;
}

}  // namespace sluice

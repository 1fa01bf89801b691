#include "daemon/redis_login.hpp"

namespace sluice {

RedisLogin redis_login_of(const Settings& settings, const char* client_name) {
    return {settings.redis_url, settings.redis_password_file, client_name,
            settings.redis_timeout_ms};
}

RedisLogin redis_reader_login_of(const Settings& settings, const char* client_name) {
    RedisLogin login = redis_login_of(settings, client_name);
    if (!settings.redis_reader_url.empty()) {
        // The file above is another user's, and would win over a password in this URL.
        login.url = settings.redis_reader_url;
        login.password_file.clear();
    }
    if (!settings.redis_reader_password_file.empty()) {
        login.password_file = settings.redis_reader_password_file;
    }
    return login;
}

}  // namespace sluice

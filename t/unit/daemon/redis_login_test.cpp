// Whom each part logs in to Redis as, by its settings.
#include "daemon/redis_login.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

void assert_login(const RedisLogin& login, const char* url, const char* password_file) {
    assert_string_equal(login.url.c_str(), url);
    assert_string_equal(login.password_file.c_str(), password_file);
    assert_string_equal(login.client_name.c_str(), "part");
    assert_int_equal(login.timeout_ms, 7000);
}

Settings settings_of(const char* url, const char* password_file) {
    Settings settings;
    settings.redis_url = url;
    settings.redis_password_file = password_file;
    settings.redis_timeout_ms = 7000;
    return settings;
}

void one_user_does_for_both(void**) {
    const Settings settings = settings_of("redis://a@host", "/a");
    assert_login(redis_login_of(settings, "part"), "redis://a@host", "/a");
    assert_login(redis_reader_login_of(settings, "part"), "redis://a@host", "/a");
}

void the_reader_has_a_user_of_its_own(void**) {
    Settings settings = settings_of("redis://a@host", "/a");
    settings.redis_reader_url = "redis://b@host";
    settings.redis_reader_password_file = "/b";
    assert_login(redis_login_of(settings, "part"), "redis://a@host", "/a");
    assert_login(redis_reader_login_of(settings, "part"), "redis://b@host", "/b");
}

void a_file_is_for_one_user(void**) {
    Settings settings = settings_of("redis://a@host", "/a");
    settings.redis_reader_url = "redis://b:secret@host";
    assert_login(redis_reader_login_of(settings, "part"), "redis://b:secret@host", "");
}

void one_user_has_a_file_in_two_places(void**) {
    Settings settings = settings_of("redis://a@host", "/run/load/password");
    settings.redis_reader_password_file = "/run/serve/password";
    assert_login(redis_reader_login_of(settings, "part"), "redis://a@host", "/run/serve/password");
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(one_user_does_for_both),
        cmocka_unit_test(the_reader_has_a_user_of_its_own),
        cmocka_unit_test(a_file_is_for_one_user),
        cmocka_unit_test(one_user_has_a_file_in_two_places),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

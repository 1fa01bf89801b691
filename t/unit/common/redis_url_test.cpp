#include "common/redis_url.hpp"

#include <cstring>

#include "t/unit/cmocka.hpp"

using namespace sluice;

static RedisUrl good(std::string_view text) {
    RedisUrl url;
    const char* error = nullptr;
    if (!parse_redis_url(text, &url, &error)) {
        fail_msg("%s: %s", std::string(text).c_str(), error);
    }
    return url;
}

static void tcp(void**) {
    RedisUrl url = good("redis://db1");
    assert_false(url.is_unix);
    assert_text_equal(url.host, "db1");
    assert_int_equal(url.port, 6379);
    assert_int_equal(url.db, 0);
    url = good("redis://edge:s3:cr@t@10.0.0.1:7000/3");
    assert_text_equal(url.user, "edge");
    assert_text_equal(url.password, "s3:cr@t");
    assert_text_equal(url.host, "10.0.0.1");
    assert_int_equal(url.port, 7000);
    assert_int_equal(url.db, 3);
    url = good("redis://:pw@[::1]:7000");
    assert_text_equal(url.user, "");
    assert_text_equal(url.password, "pw");
    assert_text_equal(url.host, "[::1]");
    assert_int_equal(url.port, 7000);
    assert_text_equal(good("redis://[::1]/").host, "[::1]");
}

static void unix_socket(void**) {
    RedisUrl url = good("unix:///run/redis.sock");
    assert_true(url.is_unix);
    assert_text_equal(url.path, "/run/redis.sock");
    url = good("unix://u:p@/run/redis.sock?db=12");
    assert_text_equal(url.user, "u");
    assert_text_equal(url.password, "p");
    assert_text_equal(url.path, "/run/redis.sock");
    assert_int_equal(url.db, 12);
}

static void what_is_wrong_is_said(void**) {
    const std::string long_path = "unix:///" + std::string(107, 'x');
    for (std::string_view text :
         {"", "http://x", "localhost:6379", "redis://", "redis://:6379", "redis://h:0",
          "redis://h:70000", "redis://h:x", "redis://h/x", "unix://run/redis.sock", "unix://",
          "unix:///s?db=x", "unix:///s?port=1", "unix:///s?db=1&x=2"}) {
        RedisUrl url;
        const char* error = nullptr;
        assert_false(parse_redis_url(text, &url, &error));
        assert_non_null(error);
    }
    RedisUrl url;
    const char* error = nullptr;
    assert_false(parse_redis_url(long_path, &url, &error));
    assert_non_null(strstr(error, "107"));
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(tcp),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// Settings: file, environment, and every mistake named.
#include "daemon/settings.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

Settings read(std::string_view toml, std::vector<const char*> environment = {}) {
    environment.push_back(nullptr);
    return read_settings(toml, "test.toml", environment.data());
}

std::string refusal(std::string_view toml, std::vector<const char*> environment = {}) {
    try {
        read(toml, std::move(environment));
    } catch (const SettingsError& error) {
        return error.what();
    }
    return "";
}

void assert_holds(const std::string& text, const char* part) {
    if (text.find(part) == std::string::npos) {
        fail_msg("\"%s\" is not in \"%s\"", part, text.c_str());
    }
}

void defaults_need_no_file(void**) {
    const Settings settings = read("");
    assert_string_equal(settings.redis_stream.c_str(), "logs:stream");
    assert_string_equal(settings.redis_group.c_str(), "log_workers");
    assert_int_equal(settings.load_batch_rows, 50000);
    assert_false(settings.load_name.empty());
}

void the_environment_wins_over_the_file(void**) {
    const Settings settings =
        read("[load]\nbatch_rows = 10\nbatch_age_ms = 7\n[redis]\nother_groups = [\"a\"]\n",
             {"PATH=/bin", "SLUICED_LOAD_BATCH_ROWS=20", "SLUICED_REDIS_OTHER_GROUPS=b,c"});
    assert_int_equal(settings.load_batch_rows, 20);
    assert_int_equal(settings.load_batch_age_ms, 7);
    assert_int_equal(settings.redis_other_groups.size(), 2);
    assert_string_equal(settings.redis_other_groups[1].c_str(), "c");
}

void unknown_settings_are_refused_with_the_nearest(void**) {
    assert_holds(refusal("[load]\nbatch_row = 1\n"), "did you mean load.batch_rows?");
    assert_holds(refusal("[lod]\nbatch_rows = 1\n"), "did you mean load.batch_rows?");
    assert_holds(refusal("", {"SLUICED_REDIS_URI=x"}), "did you mean SLUICED_REDIS_URL?");
    assert_holds(refusal("stream = 1\n"), "unknown setting stream");
}

void wrong_types_and_ranges_are_refused(void**) {
    assert_holds(refusal("[load]\nbatch_rows = \"many\"\n"), "load.batch_rows must be a whole");
    assert_holds(refusal("[load]\nbatch_rows = 0\n"), "load.batch_rows must be 1 to 1000000");
    assert_holds(refusal("[redis]\nurl = 5\n"), "redis.url must be a string");
    assert_holds(refusal("[redis]\nstream = \"\"\n"), "redis.stream must be 1 to 256 bytes long");
    assert_holds(refusal("[redis]\nother_groups = [1]\n"), "must be an array of strings");
    assert_holds(refusal("", {"SLUICED_SERVE_WORKERS=4x"}), "SLUICED_SERVE_WORKERS must be");
    assert_holds(refusal("[redis]\nurl = \"http://x\"\n"), "redis.url: ");
}

void broken_toml_is_placed(void**) {
    assert_holds(refusal("[load]\nx = = 1\n"), "line 2");
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(defaults_need_no_file),
        cmocka_unit_test(the_environment_wins_over_the_file),
        cmocka_unit_test(unknown_settings_are_refused_with_the_nearest),
        cmocka_unit_test(wrong_types_and_ranges_are_refused),
        cmocka_unit_test(broken_toml_is_placed),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

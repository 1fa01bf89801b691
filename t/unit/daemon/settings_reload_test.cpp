// Settings that change while a process runs: which are taken, which need a restart.
#include "daemon/settings_reload.hpp"

#include "daemon/settings_table.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

using Names = std::vector<std::string>;

const Names kLoader = {"redis", "postgres", "load", "storage", "log"};

std::string joined(const Names& names) {
    std::string text;
    for (const std::string& name : names) {
        text += name + " ";
    }
    return text;
}

void changes_are_sorted_out(void**) {
    Settings settings;
    Settings now;
    now.redis_url = "redis://other";
    now.redis_other_groups = {"a"};
    now.load_batch_rows = 7;
    now.storage_keep_days = 30;
    now.log_level = "warn";
    now.serve_queue = 1;
    SettingsChange change = take_live(now, kLoader, &settings);
    assert_text_equal(joined(change.taken), "load.batch_rows storage.keep_days log.level ");
    assert_text_equal(joined(change.need_restart), "redis.url redis.other_groups ");
    assert_int_equal(settings.load_batch_rows, 7);
    assert_int_equal(settings.storage_keep_days, 30);
    assert_string_equal(settings.log_level.c_str(), "warn");
    assert_string_equal(settings.redis_url.c_str(), Settings().redis_url.c_str());
    assert_int_equal(settings.serve_queue, Settings().serve_queue);

    // What needs a restart goes on needing it; what is taken back does not.
    now.redis_url = Settings().redis_url;
    change = take_live(now, kLoader, &settings);
    assert_text_equal(joined(change.taken), "");
    assert_text_equal(joined(change.need_restart), "redis.other_groups ");
}

void nothing_changes_by_itself(void**) {
    Settings settings;
    const SettingsChange change = take_live(Settings(), kLoader, &settings);
    assert_true(change.taken.empty() && change.need_restart.empty());
}

// Whatever is added: connections and names are made once.
void what_a_process_is_made_of_is_not_live(void**) {
    for (const Setting& setting : all_settings()) {
        const std::string section = setting.section;
        if (section == "redis" || section == "postgres") {
            assert_false(setting.live);
        }
    }
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_sorted_out),
        cmocka_unit_test(nothing_changes_by_itself),
        cmocka_unit_test(what_a_process_is_made_of_is_not_live),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

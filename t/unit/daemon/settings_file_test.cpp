// conf/sluiced.toml: it names every setting, with its true default, rule and name in the
// environment, and no other.
#include <fstream>
#include <iterator>
#include <sstream>

#include "daemon/settings_table.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

struct Described {
    std::string value;
    std::string comment;  // the lines above it, joined
};

std::ifstream open_shipped() {
    std::ifstream file(SLUICE_SHIPPED_SETTINGS);
    assert_true(file.is_open());
    return file;
}

// What stands there of a setting; its comment begins behind the setting before it.
Described find_in_file(const Setting& setting) {
    std::ifstream file = open_shipped();
    const std::string header = std::string("[") + setting.section + "]";
    const std::string assignment = std::string(setting.key) + " = ";
    bool in_section = false;
    std::string comment;
    for (std::string line; std::getline(file, line);) {
        if (!line.empty() && line.front() == '#') {
            comment.append(line, 1, std::string::npos);
            continue;
        }
        if (!line.empty() && line.front() == '[') {
            in_section = line == header;
        } else if (in_section && line.compare(0, assignment.size(), assignment) == 0) {
            return {line.substr(assignment.size()), comment};
        }
        comment.clear();
    }
    fail_msg("conf/sluiced.toml does not have %s", file_name_of(setting).c_str());
    return {};
}

void every_setting_stands_there_as_it_is(void**) {
    for (const Setting& setting : all_settings()) {
        const Described described = find_in_file(setting);
        assert_string_equal(described.value.c_str(), default_of(setting).c_str());
        for (const std::string& part : {rule_of(setting), environment_name_of(setting)}) {
            if (described.comment.find(part) == std::string::npos) {
                fail_msg("conf/sluiced.toml does not say \"%s\" above %s", part.c_str(),
                         file_name_of(setting).c_str());
            }
        }
        if ((described.comment.find("; SIGHUP") != std::string::npos) != setting.live) {
            fail_msg("conf/sluiced.toml is wrong about SIGHUP above %s",
                     file_name_of(setting).c_str());
        }
    }
}

void nothing_else_stands_there(void**) {
    std::ifstream file = open_shipped();
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const char* const nothing[] = {nullptr};
    static_cast<void>(read_settings(text, "sluiced.toml", nothing));
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_stands_there_as_it_is),
        cmocka_unit_test(nothing_else_stands_there),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

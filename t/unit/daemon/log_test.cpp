// The daemon's log: what a line looks like, for machines and for humans, and what it leaves out.
#include "daemon/log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

// What is written to stderr meanwhile, without the times.
std::string logged(LogLevel least, LogFormat format, const std::function<void()>& log) {
    char name[] = "/tmp/log_test.XXXXXX";
    const int file = mkstemp(name);
    unlink(name);
    const int before = dup(STDERR_FILENO);
    dup2(file, STDERR_FILENO);
    set_log(least, format);
    log();
    dup2(before, STDERR_FILENO);
    std::string text(100000, '\0');
    text.resize(static_cast<size_t>(pread(file, text.data(), text.size(), 0)));
    close(file);
    close(before);
    const std::string shape = "2026-11-21T15:04:05.123456Z";
    for (size_t at = 0; (at = text.find("20", at)) != std::string::npos; ++at) {
        if (text.size() >= at + shape.size() && text[at + shape.size() - 1] == 'Z') {
            text.replace(at, shape.size(), "T");
        }
    }
    return text;
}

std::string as_json(const std::function<void()>& log) {
    return logged(LogLevel::kInfo, LogFormat::kJson, log);
}

std::string as_text(const std::function<void()>& log) {
    return logged(LogLevel::kInfo, LogFormat::kText, log);
}

void lines_are_objects(void**) {
    assert_text_equal(
        as_json([] { log_info("stored").with("rows", 7).with("group", "a b").with("none", ""); }),
        "{\"time\":\"T\",\"level\":\"INFO\",\"message\":\"stored\",\"rows\":7,\"group\":\"a b\","
        "\"none\":\"\"}\n");
    assert_text_equal(
        as_json([] {
            log_warn("a").with("most", UINT64_MAX);
            log_error("b").with("least", INT64_MIN);
        }),
        "{\"time\":\"T\",\"level\":\"WARN\",\"message\":\"a\",\"most\":"
        "18446744073709551615}\n{\"time\":\"T\",\"level\":\"ERROR\",\"message\":\"b\","
        "\"least\":-9223372036854775808}\n");
}

void lines_for_humans(void**) {
    assert_text_equal(as_text([] {
                          log_warn("redis failed").with("step", "read").with("n", 0);
                          log_info("x").with("why", "a \"b\" = \\").with("none", "");
                      }),
                      "T WARN redis failed step=read n=0\n"
                      "T INFO x why=\"a \\\"b\\\" = \\\\\" none=\"\"\n");
}

void a_file_is_no_terminal(void**) {
    assert_int_equal(logged(LogLevel::kInfo, LogFormat::kAuto, [] { log_info("x"); })[0], '{');
}

void what_is_below_the_level_is_left_out(void**) {
    const auto all = [] {
        log_info("i").with("k", "v").with("n", 1);
        log_warn("w");
        log_error("e");
    };
    assert_text_equal(logged(LogLevel::kWarn, LogFormat::kText, all), "T WARN w\nT ERROR e\n");
    assert_text_equal(logged(LogLevel::kError, LogFormat::kText, all), "T ERROR e\n");
}

void values_stay_on_their_line_and_are_utf8(void**) {
    const std::string strange =
        "a\nb\x1b[2J\x7f \xc3\xa4 \xc2\x9b"
        "c \"\\";
    assert_text_equal(as_json([&] { log_info("x").with("v", strange); }),
                      "{\"time\":\"T\",\"level\":\"INFO\",\"message\":\"x\",\"v\":\"a b [2J  "
                      "\xc3\xa4 ?c \\\"\\\\\"}\n");
    assert_text_equal(as_text([&] { log_info("x").with("v", strange); }),
                      "T INFO x v=\"a b [2J  \xc3\xa4 ?c \\\"\\\\\"\n");
    assert_text_equal(as_text([] { log_info("x").with("v", "\xff\xc3+\xc2"); }),
                      "T INFO x v=??+?\n");
}

void long_values_are_cut_between_characters(void**) {
    const std::string text = std::string(999, 'a') + "\xc3\xa4 and so on";
    assert_text_equal(as_text([&] { log_info("x").with("v", text); }),
                      "T INFO x v=" + std::string(999, 'a') + "...\n");
}

void consumers_are_named(void**) {
    assert_text_equal(as_text([] {
                          log_as_consumer("c-0");
                          log_info("x").with("n", 1);
                          log_as_consumer("");
                          log_info("y");
                      }),
                      "T INFO x consumer=c-0 n=1\nT INFO y\n");
}

// systemd says which file is its journal; what is redirected elsewhere gets no priorities.
void lines_to_the_journal_have_priorities(void**) {
    const auto log = [] {
        struct stat status {};
        fstat(STDERR_FILENO, &status);
        const std::string journal =
            std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
        setenv("JOURNAL_STREAM", journal.c_str(), 1);
        set_log(LogLevel::kInfo, LogFormat::kText);
        log_info("i");
        log_warn("w");
        log_error("e");
        setenv("JOURNAL_STREAM", (journal + "0").c_str(), 1);
        set_log(LogLevel::kInfo, LogFormat::kText);
        log_error("e");
        unsetenv("JOURNAL_STREAM");
    };
    assert_text_equal(as_text(log), "<6>T INFO i\n<4>T WARN w\n<3>T ERROR e\nT ERROR e\n");
}

void a_limit_says_what_it_left_out(void**) {
    LogLimit limit(100);
    uint64_t left_out = 9;
    assert_true(limit.allow(0, &left_out));
    assert_int_equal(left_out, 0);
    assert_false(limit.allow(50, &left_out));
    assert_false(limit.allow(99, &left_out));
    assert_true(limit.allow(100, &left_out));
    assert_int_equal(left_out, 2);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_objects),
        cmocka_unit_test(lines_for_humans),
        cmocka_unit_test(a_file_is_no_terminal),
        cmocka_unit_test(what_is_below_the_level_is_left_out),
        cmocka_unit_test(values_stay_on_their_line_and_are_utf8),
        cmocka_unit_test(long_values_are_cut_between_characters),
        cmocka_unit_test(consumers_are_named),
        cmocka_unit_test(lines_to_the_journal_have_priorities),
        cmocka_unit_test(a_limit_says_what_it_left_out),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

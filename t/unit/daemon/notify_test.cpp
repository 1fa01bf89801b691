// What the service manager is told, byte for byte.
#include "daemon/notify.hpp"

#include "daemon/clock.hpp"
#include "manager.hpp"

namespace sluice::test {
namespace {

void check_conversation(const Manager& manager) {
    Notifier notifier;
    assert_true(notifier.ready("all is well"));
    assert_text_equal(manager.heard(), "READY=1\nSTATUS=all is well");
    assert_true(notifier.status("a line"));
    assert_text_equal(manager.heard(), "STATUS=a line");
    assert_true(notifier.alive());
    assert_text_equal(manager.heard(), "WATCHDOG=1");
    const int64_t before_us = steady_us();
    assert_true(notifier.reloading());
    const std::string heard = manager.heard();
    const std::string begins = "RELOADING=1\nMONOTONIC_USEC=";
    assert_text_equal(heard.substr(0, begins.size()), begins);
    const int64_t at_us = std::stoll(heard.substr(begins.size()));
    assert_true(before_us <= at_us && at_us <= steady_us());
    assert_true(notifier.stopping());
    assert_text_equal(manager.heard(), "STOPPING=1\nSTATUS=stopping");
    assert_text_equal(manager.heard(), "nothing");
}

void a_socket_with_a_path(void**) {
    check_conversation(Manager());
}

void a_socket_in_the_abstract_namespace(void**) {
    check_conversation(Manager("@notify_test." + std::to_string(getpid())));
}

void nobody_is_told_where_nobody_wants_to_know(void**) {
    for (const char* name : {"", "vsock:2:3", "relative"}) {
        setenv("NOTIFY_SOCKET", name, 1);
        Notifier notifier;
        assert_true(notifier.ready("x"));
    }
    setenv("NOTIFY_SOCKET", ("/" + std::string(sizeof sockaddr_un::sun_path, 'x')).c_str(), 1);
    assert_true(Notifier().ready("x"));
    unsetenv("NOTIFY_SOCKET");
    assert_true(Notifier().ready("x"));
}

void a_manager_that_is_gone_is_not_told(void**) {
    setenv("NOTIFY_SOCKET", "/nowhere/notify", 1);
    Notifier notifier;
    unsetenv("NOTIFY_SOCKET");
    assert_false(notifier.ready("x"));
}

int64_t watchdog(const char* usec, const std::string& pid) {
    const Manager manager;
    usec == nullptr ? unsetenv("WATCHDOG_USEC") : setenv("WATCHDOG_USEC", usec, 1);
    pid.empty() ? unsetenv("WATCHDOG_PID") : setenv("WATCHDOG_PID", pid.c_str(), 1);
    return Notifier().watchdog_us();
}

void the_watchdog_is_meant_for_one_process(void**) {
    assert_int_equal(watchdog("3000000", std::to_string(getpid())), 3000000);
    assert_int_equal(watchdog("3000000", ""), 3000000);
    assert_int_equal(watchdog("3000000", "1"), 0);
    assert_int_equal(watchdog(nullptr, ""), 0);
    assert_int_equal(watchdog("3s", ""), 0);
    assert_int_equal(watchdog("-1", ""), 0);
    setenv("WATCHDOG_USEC", "3000000", 1);
    assert_int_equal(Notifier().watchdog_us(), 0);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_socket_with_a_path),
        cmocka_unit_test(a_socket_in_the_abstract_namespace),
        cmocka_unit_test(nobody_is_told_where_nobody_wants_to_know),
        cmocka_unit_test(a_manager_that_is_gone_is_not_told),
        cmocka_unit_test(the_watchdog_is_meant_for_one_process),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

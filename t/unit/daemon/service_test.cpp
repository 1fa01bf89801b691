// What the main thread of a daemon does: what it tells the service manager and when, what it does
// with settings that have changed, and what it makes of threads that hang.
#include "daemon/service.hpp"

#include <atomic>
#include <csignal>
#include <mutex>
#include <thread>

#include "daemon/clock.hpp"
#include "daemon/pulse.hpp"
#include "manager.hpp"

namespace sluice::test {
namespace {

// Soon on a machine that does not stand still.
constexpr int kSoonMs = 60000;

// A service that runs in a thread of its own, and what the test does to it.
class Running {
  public:
    explicit Running(bool ready = true)
        : ready_(ready), service_([this] { return read(); }, {"load", "log"}) {
        thread_ = std::thread([this] {
            stopped_ = service_.run({[this] { return ready_.load(); },
                                     [this] { return "status " + std::to_string(status_); },
                                     [this](const Settings& now) { rows_ = now.load_batch_rows; }});
        });
    }
    ~Running() { end(); }

    void end() {
        if (thread_.joinable()) {
            kill(getpid(), SIGTERM);
            thread_.join();
        }
    }
    bool has_finished() {
        service_.signals()->finished();
        thread_.join();
        return !stopped_;
    }

    std::atomic<bool> ready_;
    std::atomic<int> status_{1};
    std::atomic<int64_t> rows_{0};
    std::atomic<int64_t> file_rows_{50000};
    std::atomic<bool> file_is_wrong_{false};
    std::atomic<bool> stopped_{false};

  private:
    Settings read() {
        if (file_is_wrong_) {
            throw SettingsError("f:1: wrong");
        }
        Settings settings;
        settings.log_level = "error";
        settings.load_batch_rows = file_rows_;
        return settings;
    }

    Service service_;
    std::thread thread_;
};

void ready_is_told_when_it_is_and_what_changes_then(void**) {
    const Manager manager;
    Running running(false);
    assert_text_equal(manager.heard(kSoonMs), "STATUS=status 1");
    running.status_ = 2;
    assert_text_equal(manager.heard(kSoonMs), "STATUS=status 2");
    running.ready_ = true;
    assert_text_equal(manager.heard(kSoonMs), "READY=1\nSTATUS=status 2");
    running.status_ = 3;
    assert_text_equal(manager.heard(kSoonMs), "STATUS=status 3");
    running.end();
    assert_text_equal(manager.heard(), "STOPPING=1\nSTATUS=stopping");
    assert_true(running.stopped_);
}

void it_ends_when_its_work_does(void**) {
    const Manager manager;
    Running running;
    assert_true(running.has_finished());
}

void wait_reloaded(const Manager& manager) {
    std::string heard;
    do {
        heard = manager.heard(kSoonMs);
    } while (heard.find("STATUS=status") == 0);
    assert_text_equal(heard.substr(0, 12), "RELOADING=1\n");
    assert_text_equal(manager.heard(kSoonMs).substr(0, 8), "READY=1\n");
}

void settings_are_applied_unless_they_are_wrong(void**) {
    const Manager manager;
    Running running;
    assert_text_equal(manager.heard(kSoonMs).substr(0, 8), "READY=1\n");
    running.file_rows_ = 7;
    kill(getpid(), SIGHUP);
    wait_reloaded(manager);
    assert_int_equal(running.rows_, 7);
    running.file_rows_ = 8;
    running.file_is_wrong_ = true;
    kill(getpid(), SIGHUP);
    wait_reloaded(manager);
    assert_int_equal(running.rows_, 7);
    running.file_is_wrong_ = false;
    kill(getpid(), SIGHUP);
    wait_reloaded(manager);
    assert_int_equal(running.rows_, 8);
}

// A tenth of a second: so often would the manager restart it.
class Watched {
  public:
    Watched() { setenv("WATCHDOG_USEC", "100000", 1); }
    ~Watched() { unsetenv("WATCHDOG_USEC"); }

    [[nodiscard]] bool is_fed() const {
        std::string heard;
        while (manager.heard() != "nothing") {}
        do {
            heard = manager.heard(kSoonMs);
        } while (heard != "WATCHDOG=1" && heard != "nothing");
        return heard == "WATCHDOG=1";
    }
    [[nodiscard]] bool is_not_fed() const {
        while (manager.heard(300) != "nothing") {}
        return manager.heard(300) == "nothing";
    }

    Manager manager;
};

void the_watchdog_is_fed_unless_a_thread_hangs(void**) {
    const Watched watched;
    const Running running;
    assert_true(watched.is_fed());
    pulse_as("this");
    assert_true(watched.is_not_fed());
    pulse_rest();
    assert_true(watched.is_fed());
    // One that moves all the time, also while the test listens.
    std::atomic<bool> over{false};
    std::thread mover([&over] {
        pulse_as("mover");
        while (!over) {
            pulse();
        }
    });
    for (int times = 0; times < 10; ++times) {
        assert_true(watched.is_fed());
    }
    over = true;
    mover.join();
}

void the_watchdog_is_not_fed_by_a_main_thread_that_hangs(void**) {
    const Watched watched;
    std::mutex mutex;
    Signals signals;
    Service service([] { return Settings(); }, {});
    std::thread main_thread([&] {
        static_cast<void>(service.run({[] { return true; },
                                       [&mutex] {
                                           const std::lock_guard<std::mutex> lock(mutex);
                                           return std::string();
                                       },
                                       [](const Settings&) {}}));
    });
    assert_true(watched.is_fed());
    mutex.lock();
    assert_true(watched.is_not_fed());
    mutex.unlock();
    assert_true(watched.is_fed());
    service.signals()->finished();
    main_thread.join();
}

void who_is_stopping_reads_nothing_anew(void**) {
    Signals signals;
    kill(getpid(), SIGHUP);
    const int64_t began_us = steady_us();
    assert_true(signals.wait_stopping(50) == Signals::Event::kTimeout);
    assert_true(steady_us() - began_us >= 40 * 1000);
    kill(getpid(), SIGHUP);
    kill(getpid(), SIGINT);
    assert_true(signals.wait_stopping(kSoonMs) == Signals::Event::kStop);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    // Signals to the process are for the service: no thread of the test may take them.
    const sluice::Signals blocked;
    const CMUnitTest tests[] = {
        cmocka_unit_test(ready_is_told_when_it_is_and_what_changes_then),
        cmocka_unit_test(it_ends_when_its_work_does),
        cmocka_unit_test(settings_are_applied_unless_they_are_wrong),
        cmocka_unit_test(the_watchdog_is_fed_unless_a_thread_hangs),
        cmocka_unit_test(the_watchdog_is_not_fed_by_a_main_thread_that_hangs),
        cmocka_unit_test(who_is_stopping_reads_nothing_anew),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// Threads that stand still are found; those that move, rest or have ended are not.
#include "daemon/pulse.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "daemon/clock.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

// A thread that does what it is told, one thing after the other.
class Worker {
  public:
    explicit Worker(const char* name) : thread_([this] { run(); }) {
        tell([name] { pulse_as(name); });
    }
    ~Worker() { end(); }

    void tell(std::function<void()> what) {
        std::unique_lock<std::mutex> lock(mutex_);
        what_ = std::move(what);
        changed_.notify_all();
        changed_.wait(lock, [this] { return !what_; });
    }
    void end() {
        if (thread_.joinable()) {
            tell([this] { ends_ = true; });
            thread_.join();
        }
    }

  private:
    void run() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (!ends_) {
            changed_.wait(lock, [this] { return static_cast<bool>(what_); });
            what_();
            what_ = nullptr;
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::function<void()> what_;
    bool ends_ = false;
    std::thread thread_;
};

// Later than all that has happened.
int64_t now() {
    return steady_us() + 1;
}

void who_moves_does_not_stand_still(void**) {
    Worker worker("a");
    const int64_t since = now();
    assert_text_equal(thread_standing_still(since), "a");
    while (steady_us() < since) {}
    worker.tell([] { pulse(); });
    assert_text_equal(thread_standing_still(since), "");
    assert_text_equal(thread_standing_still(now()), "a");
}

void who_rests_does_not_until_it_moves(void**) {
    Worker worker("a");
    worker.tell([] { pulse_rest(); });
    assert_text_equal(thread_standing_still(now()), "");
    worker.tell([] { pulse(); });
    assert_text_equal(thread_standing_still(now()), "a");
}

void each_is_looked_at_until_it_ends(void**) {
    Worker first("a");
    Worker second("b");
    Worker not_watched("c");
    not_watched.tell([] { pulse_rest(); });
    first.tell([] { pulse_rest(); });
    assert_text_equal(thread_standing_still(now()), "b");
    second.end();
    assert_text_equal(thread_standing_still(now()), "");
    first.tell([] { pulse(); });
    assert_text_equal(thread_standing_still(now()), "a");
}

void others_are_not_watched(void**) {
    pulse();
    pulse_rest();
    pulse();
    assert_text_equal(thread_standing_still(now()), "");
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(who_moves_does_not_stand_still),
        cmocka_unit_test(who_rests_does_not_until_it_moves),
        cmocka_unit_test(each_is_looked_at_until_it_ends),
        cmocka_unit_test(others_are_not_watched),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

#include "daemon/pulse.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <set>

#include "daemon/clock.hpp"

namespace sluice {
namespace {

class Pulse;

std::mutex watched_mutex;
std::set<const Pulse*> watched;

class Pulse {
  public:
    explicit Pulse(std::string name) : name_(std::move(name)), moved_at_us_(steady_us()) {
        const std::lock_guard<std::mutex> lock(watched_mutex);
        watched.insert(this);
    }
    ~Pulse() {
        const std::lock_guard<std::mutex> lock(watched_mutex);
        watched.erase(this);
    }
    Pulse(const Pulse&) = delete;
    Pulse& operator=(const Pulse&) = delete;

    void moves_at(int64_t us) noexcept { moved_at_us_ = us; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] int64_t moved_at_us() const noexcept { return moved_at_us_; }

  private:
    std::string name_;
    std::atomic<int64_t> moved_at_us_;
};

thread_local std::unique_ptr<Pulse> thread_pulse;

}  // namespace

void pulse_as(std::string name) {
    thread_pulse = std::make_unique<Pulse>(std::move(name));
}

void pulse() noexcept {
    if (thread_pulse) {
        thread_pulse->moves_at(steady_us());
    }
}

void pulse_rest() noexcept {
    if (thread_pulse) {
        thread_pulse->moves_at(INT64_MAX);
    }
}

std::string thread_standing_still(int64_t since_us) {
    const std::lock_guard<std::mutex> lock(watched_mutex);
    for (const Pulse* thread : watched) {
        if (thread->moved_at_us() < since_us) {
            return thread->name();
        }
    }
    return "";
}

}  // namespace sluice

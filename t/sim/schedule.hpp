// One schedule: a seed's plan carried out. First everything happens at random; then the faults end,
// and within a bounded time everything acknowledged must be stored, acknowledged and trimmed.
#pragma once

#include <cstdint>

#include "t/sim/world.hpp"

namespace sluice::sim {

// That a schedule was worth it.
struct Tally {
    uint64_t schedules = 0;
    uint64_t moves = 0;
    uint64_t faults = 0;
    uint64_t frames_sent = 0;
    uint64_t frames_stored = 0;
    uint64_t frames_lost = 0;  // by Redis
};

class Schedule {
  public:
    Schedule(uint64_t seed, bool traced) : world_(seed, traced) {}

    void run(Tally* tally);  // throws Violation

  private:
    void step();
    void pass_time(int64_t us);
    void send();
    void send_again();
    void put(SentFrame* frame, int64_t t_ms);
    [[nodiscard]] int64_t draw_time_ms();
    void move_archive(unsigned acknowledge_percent);
    void see_to_servers();
    void see_to_loaders();
    void move_some_lane();
    void move_on(SimLoader* loader, Lane lane, unsigned on_percent);

    void calm_down();
    void settle();
    void restart_ended_loaders();
    void run_ready_lanes();
    [[nodiscard]] int64_t next_ready_us() const;
    // What has not settled yet; null if all has.
    [[nodiscard]] const char* unsettled() const;
    [[nodiscard]] bool own_pending_left() const;
    [[nodiscard]] bool trimming_left() const;
    void end_loaders();

    World world_;
    Tally* tally_ = nullptr;
};

}  // namespace sluice::sim

// A loader's process: the core, and in place of its two shells, lanes whose every step is a move of
// its own. An action is asked for, then performed by the server, then answered; in between anything
// may happen: another lane, a fault, the end of the process.
#pragma once

#include <cstdint>
#include <memory>

#include "daemon/load/core.hpp"
#include "t/sim/plan.hpp"
#include "t/sim/sim_postgres.hpp"

namespace sluice::sim {

struct World;

class SimLoader {
  public:
    SimLoader(World* world, unsigned number) : world_(world), number_(number) {}

    void start();
    void kill();
    void stop();    // as SIGTERM does: it ends when both lanes have come to rest
    void retire();  // once it has ended
    [[nodiscard]] bool running() const noexcept { return core_ != nullptr; }
    [[nodiscard]] bool ended() const noexcept;
    [[nodiscard]] const LoaderCore& core() const noexcept { return *core_; }

    // Whether a lane can move now, and if not, when at the latest (INT64_MAX: when others have
    // moved).
    [[nodiscard]] bool ready(Lane lane) const;
    [[nodiscard]] int64_t ready_at_us(Lane lane) const;
    void move(Lane lane);

    // Faults.
    enum class Loss : uint8_t {
        kBefore,
        kAfter,
        kLater
    };  // the command was not, was, will be done
    void lose_redis(Loss loss);
    bool refuse_redis();
    void lose_postgres(Loss loss, int64_t until_us);
    bool fail_postgres(PgStatus status);
    void stall(Lane lane, int64_t until_us);
    void set_wall_offset_ms(int64_t offset_ms) noexcept { wall_offset_ms_ = offset_ms; }
    // Between the questions a trim is made of.
    [[nodiscard]] bool trimming() const noexcept { return trimming_; }

  private:
    enum class Phase : uint8_t { kIdle, kSent, kAnswered, kEnded };
    struct LaneState {
        Phase phase = Phase::kIdle;
        int64_t wake_at_us = 0;
        int64_t stalled_until_us = 0;
    };

    [[nodiscard]] Now now() const;
    [[nodiscard]] const LaneState& state(Lane lane) const {
        return lane == Lane::kRedis ? redis_lane_ : pg_lane_;
    }
    void wake(Lane lane);
    void ask_redis();
    void send_redis();
    void answer_redis();
    void ask_pg();
    void send_pg();
    void answer_pg();
    [[nodiscard]] bool redis_blocks() const;
    void expect_counts(const RedisAction& action, const RedisResult& result);
    void expect_counts(const PgAction& action, const PgReply& reply);
    void check_core() const;

    World* world_;
    unsigned number_;
    std::unique_ptr<LoaderCore> core_;
    int64_t wall_offset_ms_ = 0;

    LaneState redis_lane_;
    RedisAction redis_action_;
    RedisResult redis_result_;
    uint64_t redis_run_ = 0;  // that the connection was made to; 0: none
    int64_t redis_sent_at_us_ = 0;
    bool trimming_ = false;

    LaneState pg_lane_;
    PgAction pg_action_;
    PgReply pg_reply_;
    SessionId session_ = 0;
    uint64_t seen_ended_ = 0;  // transactions, when a statement began to wait for one
    bool pg_waits_ = false;

    bool stopping_ = false;
    // How many faults there had been when it was stopped with Postgres well; else no such number.
    uint64_t stopped_well_at_fault_ = UINT64_MAX;
    LoadCounts expected_commit_;  // what the COMMIT under way adds
    LoadCounts expected_;
    uint64_t largest_entry_ = 0;
};

}  // namespace sluice::sim

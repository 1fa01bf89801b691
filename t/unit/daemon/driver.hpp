// Drives the loader's core by hand: answers its actions as Redis and Postgres would.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/load/core.hpp"
#include "frames.hpp"
#include "t/unit/cmocka.hpp"

namespace sluice::test {

inline constexpr int64_t kSecondUs = 1000 * 1000;

class Driver {
  public:
    explicit Driver(LoadLimits limits = {}) : core_(with_group(std::move(limits)), 1) {}

    LoaderCore& core() { return core_; }
    void pass(int64_t us) {
        now_.steady_us += us;
        now_.wall_ms += us / 1000;
    }

    // Performs the lane's actions with uneventful answers until it wants this one.
    RedisAction redis_until(RedisStep step) {
        for (int i = 0; i < 5000; ++i) {
            const RedisAction action = core_.next_redis(now_);
            if (action.step == step) {
                return action;
            }
            if (action.step == RedisStep::kWait) {
                pass(std::max<int64_t>(action.wait_us, 1));
            } else {
                answer(action, calm_answer(action));
            }
        }
        fail_msg("the Redis lane never came to step %d", static_cast<int>(step));
        return {};
    }
    PgAction pg_until(PgStep step) {
        for (int i = 0; i < 5000; ++i) {
            const PgAction action = core_.next_pg(now_);
            if (action.step == step) {
                return action;
            }
            if (action.step == PgStep::kWait) {
                pass(std::max<int64_t>(action.wait_us, 1));
            } else {
                answer(action, calm_answer(action));
            }
        }
        fail_msg("the Postgres lane never came to step %d", static_cast<int>(step));
        return {};
    }

    void answer(const RedisAction& action, RedisResult result) {
        core_.redis_done(action, std::move(result), now_);
    }
    void answer(const PgAction& action, PgReply reply) {
        core_.pg_done(action, std::move(reply), now_);
    }
    void refuse(const RedisAction& action, RedisStatus status) {
        RedisResult result;
        result.status = status;
        answer(action, std::move(result));
    }
    void refuse(const PgAction& action, PgStatus status) {
        PgReply reply;
        reply.status = status;
        answer(action, std::move(reply));
    }

    // Answers the next read of this kind with these frames: id 1-<n>, u = n, for each n.
    void read(RedisStep step, const std::vector<uint32_t>& numbers, uint32_t records = 2,
              int64_t t_ms = kNoonMs) {
        const RedisAction action = redis_until(step);
        auto owner = std::make_unique<OwnedRows>();
        RedisResult result;
        for (const uint32_t number : numbers) {
            result.entries.push_back(make_entry(owner.get(), {1, number}, number, records, t_ms));
        }
        result.bytes = std::move(owner);
        answer(action, std::move(result));
    }

    // All frames are fresh but those whose first row id is in known_.
    PgReply calm_answer(const PgAction& action) {
        PgReply reply;
        switch (action.step) {
            case PgStep::kReserveIds:
                reply.first_id = next_block_;
                next_block_ += kRowIdBlock;
                break;
            case PgStep::kInsertLedger:
                for (const BatchFrame& frame : action.batch->frames()) {
                    if (!all_known_) {
                        reply.fresh_ids.push_back(frame.first_row_id);
                    }
                }
                break;
            case PgStep::kCopy:
                reply.counts = {{kNoonMs / 60000, Level::kInfo, action.rows.count}};
                break;
            case PgStep::kDeadLetter:
                reply.inserted = true;
                break;
            default:
                break;
        }
        return reply;
    }
    void ledger_knows_all(bool known) { all_known_ = known; }
    void commit() {
        const PgAction action = pg_until(PgStep::kCommit);
        answer(action, {});
    }

    Now now_{kSecondUs, kNoonMs};

  private:
    static LoadLimits with_group(LoadLimits limits) {
        limits.trim_groups.emplace_back("log_workers");
        return limits;
    }
    static RedisResult calm_answer(const RedisAction& action) {
        RedisResult result;
        if (action.step == RedisStep::kInspectGroups) {
            result.groups = {{"log_workers", {1, 100}}};
        }
        return result;
    }

    LoaderCore core_;
    int64_t next_block_ = 1;
    bool all_known_ = false;
};

inline std::vector<StreamId> sorted(std::vector<StreamId> ids) {
    std::sort(ids.begin(), ids.end());
    return ids;
}

inline void assert_ids(const std::vector<StreamId>& ids, const std::vector<uint64_t>& numbers) {
    assert_int_equal(ids.size(), numbers.size());
    const std::vector<StreamId> in_order = sorted(ids);
    for (size_t i = 0; i < numbers.size(); ++i) {
        assert_int_equal(in_order[i].seq, numbers[i]);
    }
}

}  // namespace sluice::test

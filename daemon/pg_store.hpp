// The loader's SQL: partitions, row ids, ledger, COPY, dead letters, counters. Each function is one
// of the core's Postgres steps; after a failure no transaction is open, but for what
// PgStatus::kBadData says.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "daemon/load/actions.hpp"
#include "daemon/load/device_set.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/pg_watch.hpp"

namespace sluice {

class PgStore {
  public:
    // slot: under which name this loader counts. A Postgres that is less durable than is required
    // counts as away.
    PgStore(PgOptions options, std::string slot, PgDurability required);

    // Also checks that the migrations were applied, and that commits are as durable as they must.
    [[nodiscard]] bool connect();
    [[nodiscard]] bool check();
    [[nodiscard]] bool make_partitions(const PgAction& action);
    [[nodiscard]] bool reserve_ids(PgReply* reply);
    [[nodiscard]] bool insert_ledger(const Batch& batch, PgReply* reply);
    [[nodiscard]] bool copy(const PgAction& action, PgReply* reply);
    [[nodiscard]] bool copy_good_rows(const DeadLetter& in_place_of);
    [[nodiscard]] bool insert_dead_letter(const DeadLetter& letter, PgReply* reply);
    [[nodiscard]] bool count(const std::vector<MinuteCount>& counts);
    [[nodiscard]] bool commit();
    [[nodiscard]] bool prune_ledger(int64_t before_hour, PgReply* reply);

    [[nodiscard]] const PgError& error() const noexcept { return error_; }
    // Of the rows that were stored since the batch's transaction began.
    [[nodiscard]] DeviceSet* devices() noexcept { return &devices_; }

  private:
    bool failed();
    bool copy_rows(const PgAction& action, PgReply* reply);
    bool insert_keys(const Batch& batch, std::set<std::string>* new_keys);
    bool is_durable();

    PgConnection connection_;
    std::unique_ptr<Transaction> transaction_;
    std::string slot_;
    PgDurability required_;
    PgError error_;
    std::string chunk_;
    DeviceSet copied_;  // by the last COPY
    DeviceSet devices_;
};

}  // namespace sluice

// Postgres, as far as the loader can tell: sessions with one transaction each, that wait for each
// other's uncommitted keys as INSERT ... ON CONFLICT DO NOTHING does. A session outlives its client
// for a while (see abandon), and its last COMMIT may still go through.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "daemon/load/actions.hpp"
#include "t/sim/chance.hpp"
#include "t/sim/sim_edge.hpp"

namespace sluice::sim {

using SessionId = uint64_t;  // 0: none

struct LedgerRow {
    int64_t t_ms = 0;
    ProducerId u = {};
    int64_t first_row_id = 0;
    uint32_t n = 0;
};

// What a transaction will have written once it commits.
struct Written {
    std::vector<ProducerId> keys;  // of idempotency
    std::vector<LedgerRow> ledger;
    std::vector<StoredRow> rows;
    std::vector<StoredRow> letters;         // dead ones, in place of rows
    std::vector<SentFrame*> whole_letters;  // of entries
    std::vector<MinuteCount> counts;
};

class CommitWatch {
  public:
    virtual ~CommitWatch() = default;
    virtual void committed(const Written& written) = 0;
};

class SimPostgres {
  public:
    SimPostgres(CommitWatch* watch, SimEdge* edge, Chance* chance, uint64_t copy_rows_max)
        : watch_(watch), edge_(edge), chance_(chance), copy_rows_max_(copy_rows_max) {}

    // slot: under which the client counts.
    SessionId connect(unsigned slot);
    [[nodiscard]] bool is_open(SessionId id) { return find(id) != nullptr; }

    // One step of the core; false while it waits for another session's transaction: ask again when
    // one has ended. What happens to the transaction after anything but kOk is as PgStatus says.
    bool perform(SessionId id, const PgAction& action, int64_t wall_ms, PgReply* reply);
    void roll_back(SessionId id);
    // By the transaction so far.
    [[nodiscard]] const Written& written(SessionId id) { return find(id)->written; }

    // The client is gone. The session holds its locks until then, and commits at last or not.
    void abandon(SessionId id, int64_t until_us, bool commits);
    void end_abandoned(int64_t now_us);

    void restart() { end_all(); }
    // Another server takes over, which has heard of all commits but not of blocks of row ids that
    // nothing was committed with.
    void fail_over();
    // The table as a whole is not as the loader expects it. Changes only while nobody writes.
    void refuse_all_rows(bool refuses);
    // Somebody drops a partition that holds nothing; false if there is none.
    bool drop_empty_partition();

    [[nodiscard]] uint64_t ended_transactions() const noexcept { return ended_transactions_; }
    [[nodiscard]] bool has_abandoned() const noexcept;

  private:
    using LedgerKey = std::pair<int64_t, ProducerId>;

    struct Session {
        SessionId id = 0;
        unsigned slot = 0;
        bool in_transaction = false;
        Written written;
        // Of a ledger statement that had to wait: what it has done already.
        size_t keys_done = 0;
        size_t frames_done = 0;
        std::vector<int64_t> fresh_ids;
        bool waits = false;
        SessionId waits_for = 0;  // 0 also if that transaction has ended meanwhile

        bool abandoned = false;
        int64_t until_us = 0;
        bool commits = false;
    };

    Session* find(SessionId id);
    bool insert_ledger(Session* session, const Batch& batch, PgReply* reply);
    bool insert_keys(Session* session, const Batch& batch);
    bool wait_for(Session* session, SessionId holder);
    void copy(Session* session, const PgAction& action, PgReply* reply);
    void refuse_rows(uint64_t first_bad, uint64_t rows, PgReply* reply);
    void copy_good_rows(const DeadLetter& in_place_of, PgReply* reply) const;
    bool insert_dead_letter(Session* session, const DeadLetter& letter, PgReply* reply);
    bool count(Session* session, const std::vector<MinuteCount>& counts);
    void commit(Session* session);
    void prune(const Session& session, int64_t before_hour, int64_t wall_ms, PgReply* reply);
    void end_transaction(Session* session);
    void end_all();
    [[nodiscard]] bool in_transaction() const noexcept;
    [[nodiscard]] SessionId letter_holder(const SentFrame* frame) const;
    [[nodiscard]] SessionId key_holder(const ProducerId& u) const;
    [[nodiscard]] SessionId frame_holder(const LedgerKey& key) const;
    [[nodiscard]] SessionId counter_holder(const Session& session, const MinuteCount& count) const;

    CommitWatch* watch_;
    SimEdge* edge_;
    Chance* chance_;
    uint64_t copy_rows_max_;
    std::vector<Session> sessions_;
    SessionId last_session_ = 0;
    uint64_t ended_transactions_ = 0;
    int64_t next_block_ = 0;
    int64_t highest_row_id_ = 0;
    bool refuses_all_rows_ = false;
    std::map<LedgerKey, LedgerRow> ledger_;
    std::map<ProducerId, int64_t> keys_;    // to the receive time
    std::map<int64_t, uint64_t> log_days_;  // to the number of rows
    std::map<int64_t, uint64_t> ledger_hours_;
};

}  // namespace sluice::sim

// Stores dead letters again.
//
// Each is stored in the transaction that removes it, so whatever ends the work halfway, nothing is
// lost and nothing is there twice. One that is a whole entry can become a row only if it is in the
// layout of other producers and meets the rules by now. It is entered in the ledger with its row,
// as the loader would have done: should Redis bring the entry back, it is known. A frame that was
// damaged stays what it is: how many records it had, and which bytes are right, nobody knows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/commands/progress.hpp"
#include "daemon/entry.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/pg_log_rows.hpp"

namespace sluice {

struct ReplayCounts {
    uint64_t stored = 0;
    uint64_t known = 0;    // were stored already, and are removed
    uint64_t refused = 0;  // again: they stay, with the new reason
};

class Replay {
  public:
    // Some letters by their ids, or all if there is none.
    Replay(PgConnection* postgres, const std::vector<int64_t>& ids);

    // How many there are.
    [[nodiscard]] bool count(uint64_t* letters);
    [[nodiscard]] bool run(Progress* progress, ReplayCounts* counts);

  private:
    struct Letter {
        int64_t id = 0;
        int64_t t_us = 0;
        std::string producer;  // as Postgres shows it
        int32_t position = 0;
        std::string stream_id;
        std::string bytes;
    };

    bool next_letters(std::string* ids, bool* any);
    bool replay_letters(const std::string& ids, ReplayCounts* counts);
    bool read_letters(const std::string& ids, std::vector<Letter>* letters);
    bool enter(const Letter& letter, int64_t row_id, bool* fresh);
    bool leave(const Letter& letter);
    bool keep(int64_t id, const std::string& sqlstate, const std::string& reason);
    bool remove(const std::vector<int64_t>& ids);
    // Whether the letter is a row, or can be made one; else why not.
    bool row_of(const Letter& letter, std::string* row, std::string* why);

    PgConnection& postgres_;
    std::string ids_;   // an array; empty: all
    int64_t last_ = 0;  // up to here it is done
    int64_t most_ = 0;  // the newest at the beginning
    LogRows rows_;
    EntryReader reader_;
};

}  // namespace sluice

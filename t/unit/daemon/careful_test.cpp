// What the core does with rows that Postgres refuses, and with entries that are refused as a whole.
#include <map>
#include <set>

#include "driver.hpp"

namespace sluice::test {
namespace {

// By producer number (or stream id, of an entry) and position.
using Place = std::pair<uint64_t, int32_t>;

uint32_t number_of(const ProducerId& id) {
    return static_cast<uint32_t>(id[12] << 24 | id[13] << 16 | id[14] << 8 | id[15]);
}

// Keeps what a committed transaction holds; refuses the rows that are bad.
class Postgres {
  public:
    std::set<Place> bad;
    bool names_rows = true;
    bool refuses_all_rows = false;

    std::map<Place, int> rows, letters;  // committed, how many times
    uint64_t counted = 0;
    int copies = 0, careful_copies = 0, good_rows_tried = 0, commits = 0;

    PgReply perform(const PgAction& action) {
        PgReply reply;
        switch (action.step) {
            case PgStep::kReserveIds:
                reply.first_id = next_block_;
                next_block_ += kRowIdBlock;
                break;
            case PgStep::kInsertLedger:
                begin(*action.batch, &reply);
                break;
            case PgStep::kCopy:
                copy(action, &reply);
                break;
            case PgStep::kCopyGoodRows:
                assert_true(open_);
                ++good_rows_tried;
                reply.status = refuses_all_rows ? PgStatus::kBadData : PgStatus::kOk;
                break;
            case PgStep::kDeadLetter: {
                assert_true(open_);
                const Place place = place_of(action.letter);
                reply.inserted = letters.count(place) == 0;
                new_letters_[place] += reply.inserted ? 1 : 0;
                break;
            }
            case PgStep::kCount:
                for (size_t i = 0; i < action.counts.size(); ++i) {
                    for (size_t j = 0; j < i; ++j) {  // Postgres would refuse to add twice to a row
                        assert_false(action.counts[i].minute == action.counts[j].minute &&
                                     action.counts[i].level == action.counts[j].level);
                    }
                    new_counted_ += action.counts[i].n;
                }
                break;
            case PgStep::kCommit:
                commit();
                break;
            default:
                break;
        }
        if (reply.status != PgStatus::kOk &&
            !(action.careful && reply.status == PgStatus::kBadData)) {
            roll_back();
        }
        return reply;
    }
    void roll_back() {
        open_ = false;
        new_rows_.clear();
        new_letters_.clear();
        new_counted_ = 0;
    }

  private:
    static Place place_of(const DeadLetter& letter) {
        return letter.position == DeadLetter::kWholeEntry
                   ? Place(letter.id.seq, letter.position)
                   : Place(number_of(letter.producer_id), letter.position);
    }
    void begin(const Batch& batch, PgReply* reply) {
        assert_false(open_);
        open_ = true;
        for (const BatchFrame& frame : batch.frames()) {
            if (ledger_.count(number_of(frame.frame.producer_id)) == 0) {
                reply->fresh_ids.push_back(frame.first_row_id);
                new_frames_.insert(number_of(frame.frame.producer_id));
            }
        }
    }
    void copy(const PgAction& action, PgReply* reply) {
        assert_true(open_);
        assert_true(action.rows.count > 0);
        ++copies;
        careful_copies += action.careful ? 1 : 0;
        std::map<Place, int> copied;
        for (uint64_t i = 0; i < action.rows.count; ++i) {
            const BatchRow& place = action.batch->fresh_rows()[action.rows.first + i];
            const Frame& frame = action.batch->frames()[place.frame()].frame;
            const Place row(number_of(frame.producer_id), static_cast<int32_t>(place.position()));
            if (refuses_all_rows || bad.count(row) != 0) {
                *reply = PgReply();
                reply->status = PgStatus::kBadData;
                reply->named_line = names_rows ? i + 1 : 0;
                reply->sqlstate = "22P02";
                reply->reason = "so";
                return;
            }
            copied[row] = 1;
            reply->counts.push_back({frame.receive_time_ms / 60000, Level::kInfo, 1});
        }
        new_rows_.insert(copied.begin(), copied.end());
    }
    void commit() {
        assert_true(open_);
        for (const auto& [row, n] : new_rows_) {
            rows[row] += n;
        }
        for (const auto& [letter, n] : new_letters_) {
            letters[letter] += n;
        }
        ledger_.insert(new_frames_.begin(), new_frames_.end());
        counted += new_counted_;
        ++commits;
        roll_back();
    }

    bool open_ = false;
    int64_t next_block_ = 1;
    std::set<uint32_t> ledger_, new_frames_;
    std::map<Place, int> new_rows_, new_letters_;
    uint64_t new_counted_ = 0;
};

// Lets the Postgres lane go on until so many commits are answered.
void run_to_commit(Driver* driver, Postgres* postgres, int commits = 1) {
    for (int steps = 0; postgres->commits < commits; ++steps) {
        assert_true(steps < 100000);
        const PgAction action = driver->core().next_pg(driver->now_);
        if (action.step == PgStep::kWait) {
            driver->pass(std::max<int64_t>(action.wait_us, 1));
        } else {
            driver->answer(action, postgres->perform(action));
        }
    }
}

// Up to this step, which is not performed.
PgAction run_to(Driver* driver, Postgres* postgres, PgStep step) {
    for (int steps = 0; steps < 100000; ++steps) {
        const PgAction action = driver->core().next_pg(driver->now_);
        if (action.step == step) {
            return action;
        }
        if (action.step == PgStep::kWait) {
            driver->pass(std::max<int64_t>(action.wait_us, 1));
        } else {
            driver->answer(action, postgres->perform(action));
        }
    }
    fail_msg("the Postgres lane never came to step %d", static_cast<int>(step));
    return {};
}

void assert_stored(const Postgres& postgres, uint32_t frames, int32_t records) {
    for (uint32_t frame = 1; frame <= frames; ++frame) {
        for (int32_t position = 0; position < records; ++position) {
            const Place place(frame, position);
            const bool is_bad = postgres.bad.count(place) != 0;
            const auto row = postgres.rows.find(place);
            const auto letter = postgres.letters.find(place);
            assert_int_equal(row == postgres.rows.end() ? 0 : row->second, is_bad ? 0 : 1);
            assert_int_equal(letter == postgres.letters.end() ? 0 : letter->second, is_bad ? 1 : 0);
        }
    }
    assert_int_equal(postgres.counted,
                     frames * static_cast<uint32_t>(records) - postgres.bad.size());
}

void bad_rows_become_dead_letters_wherever_they_are(void**) {
    const std::set<Place> sets[] = {{{1, 0}},
                                    {{3, 4}},
                                    {{2, 2}},
                                    {{1, 0}, {3, 4}},
                                    {{1, 3}, {1, 4}, {2, 0}},
                                    {{2, 0}, {2, 1}, {2, 2}, {2, 3}, {2, 4}}};
    for (const std::set<Place>& bad : sets) {
        for (const bool names_rows : {true, false}) {
            Driver driver;
            Postgres postgres;
            postgres.bad = bad;
            postgres.names_rows = names_rows;
            driver.read(RedisStep::kReadNew, {1, 2, 3}, 5);
            run_to_commit(&driver, &postgres);
            assert_stored(postgres, 3, 5);
            assert_int_equal(postgres.good_rows_tried, 1);
            assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2, 3});
            const LoadCounts& counts = driver.core().counts();
            assert_int_equal(counts.rows_stored, 15 - bad.size());
            assert_int_equal(counts.rows_dead, bad.size());
            assert_int_equal(counts.frames_stored, 3);
            assert_int_equal(counts.pg_failures, 0);
            assert_true(driver.core().postgres_up(driver.now_));
        }
    }
}

void a_batch_of_nothing_but_bad_rows_is_stored_without_counting(void**) {
    Driver driver;
    Postgres postgres;
    postgres.bad = {{1, 0}, {1, 1}};
    driver.read(RedisStep::kReadNew, {1});
    run_to_commit(&driver, &postgres);
    assert_stored(postgres, 1, 2);
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1});
}

void a_bad_row_of_many_takes_few_copies(void**) {
    for (const bool names_rows : {true, false}) {
        Driver driver;
        Postgres postgres;
        postgres.bad = {{3, 700}};
        postgres.names_rows = names_rows;
        driver.read(RedisStep::kReadNew, {1, 2, 3, 4}, 1000);
        run_to_commit(&driver, &postgres);
        assert_stored(postgres, 4, 1000);
        assert_in_range(postgres.copies, 3, names_rows ? 4 : 1 + 2 * 12);
    }
}

void only_the_batch_with_bad_rows_is_stored_carefully(void**) {
    Driver driver;
    Postgres postgres;
    postgres.bad = {{1, 1}};
    driver.read(RedisStep::kReadNew, {1});
    run_to_commit(&driver, &postgres);
    const int careful = postgres.careful_copies;
    assert_true(careful > 0);
    driver.read(RedisStep::kReadNew, {2});
    run_to_commit(&driver, &postgres, 2);
    assert_int_equal(postgres.careful_copies, careful);
    assert_int_equal(driver.core().counts().batches_careful, 1);
    assert_stored(postgres, 2, 2);
}

// At every step of the careful transaction: nothing is lost, and nothing is there twice.
void a_failure_in_between_begins_the_batch_again(void**) {
    const PgStep steps[] = {PgStep::kInsertLedger, PgStep::kCopy,  PgStep::kCopyGoodRows,
                            PgStep::kDeadLetter,   PgStep::kCount, PgStep::kCommit};
    for (const PgStep step : steps) {
        for (const PgStatus status : {PgStatus::kRetry, PgStatus::kLost}) {
            Driver driver;
            Postgres postgres;
            postgres.bad = {{1, 0}, {2, 1}};
            driver.read(RedisStep::kReadNew, {1, 2});
            const PgAction copy = run_to(&driver, &postgres, PgStep::kCopy);
            driver.answer(copy, postgres.perform(copy));
            const PgAction failing = run_to(&driver, &postgres, step);
            assert_true(step != PgStep::kCopy || failing.careful);
            postgres.roll_back();
            driver.refuse(failing, status);
            run_to_commit(&driver, &postgres);
            assert_stored(postgres, 2, 2);
            assert_int_equal(driver.core().counts().rows_dead, 2);
            assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2});
        }
    }
}

void an_unknown_commit_with_dead_letters_is_not_done_twice(void**) {
    Driver driver;
    Postgres postgres;
    postgres.bad = {{1, 0}};
    driver.read(RedisStep::kReadNew, {1, 2});
    const PgAction commit = run_to(&driver, &postgres, PgStep::kCommit);
    postgres.perform(commit);
    driver.refuse(commit, PgStatus::kLost);
    run_to_commit(&driver, &postgres, 2);
    assert_stored(postgres, 2, 2);
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2});
}

void a_table_that_refuses_good_rows_makes_no_dead_letters(void**) {
    Driver driver;
    Postgres postgres;
    postgres.refuses_all_rows = true;
    driver.read(RedisStep::kReadNew, {1, 2}, 100);
    for (int i = 0; i < 5; ++i) {
        const PgAction good_rows = run_to(&driver, &postgres, PgStep::kCopyGoodRows);
        driver.answer(good_rows, postgres.perform(good_rows));
        assert_int_equal(driver.core().next_pg(driver.now_).step, PgStep::kWait);
        assert_true(postgres.copies <= 2 * (i + 1));
    }
    assert_int_equal(driver.core().counts().batches_refused, 5);
    assert_true(driver.redis_until(RedisStep::kPublish).state.postgres_up);
    assert_true(postgres.letters.empty());

    postgres.refuses_all_rows = false;
    postgres.bad = {{2, 50}};
    run_to_commit(&driver, &postgres);
    assert_stored(postgres, 2, 100);
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2});
}

void values_that_any_other_step_refuses_are_no_bad_rows(void**) {
    for (const PgStep step : {PgStep::kInsertLedger, PgStep::kCount, PgStep::kDeadLetter}) {
        Driver driver;
        Postgres postgres;
        postgres.bad = {{1, 0}};
        driver.read(RedisStep::kReadNew, {1});
        const PgAction action = run_to(&driver, &postgres, step);
        postgres.roll_back();
        driver.refuse(action, PgStatus::kBadData);
        assert_int_equal(driver.core().counts().batches_refused, 1);
        assert_int_equal(driver.core().next_pg(driver.now_).step, PgStep::kWait);
    }
}

void frames_stored_by_another_loader_meanwhile_are_not_searched(void**) {
    Driver driver;
    Postgres postgres;
    postgres.bad = {{1, 0}};
    driver.read(RedisStep::kReadNew, {1});
    const PgAction copy = run_to(&driver, &postgres, PgStep::kCopy);
    driver.answer(copy, postgres.perform(copy));
    driver.ledger_knows_all(true);
    const PgAction ledger = run_to(&driver, &postgres, PgStep::kInsertLedger);
    driver.answer(ledger, driver.calm_answer(ledger));
    const PgAction commit = driver.core().next_pg(driver.now_);
    assert_int_equal(commit.step, PgStep::kCommit);
    driver.answer(commit, {});
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1});
    assert_int_equal(driver.core().counts().rows_dead, 0);
}

// A frame 1 of two rows if with_frame, and two entries that are refused as a whole: ids 1-2, 1-3.
void read_dead_entries(Driver* driver, RedisStep step, bool with_frame) {
    const RedisAction action = driver->redis_until(step);
    auto owner = std::make_unique<OwnedRows>();
    RedisResult result;
    if (with_frame) {
        result.entries.push_back(make_entry(owner.get(), {1, 1}, 1, 2));
    }
    for (const FrameError error : {FrameError::kPlainEntry, FrameError::kDamaged}) {
        const uint64_t seq = error == FrameError::kDamaged ? 2 : 3;
        Entry entry = make_entry(owner.get(), {1, seq}, static_cast<uint32_t>(seq), 1);
        entry.error = error;
        entry.reason = "why";
        result.entries.push_back(entry);
    }
    result.bytes = std::move(owner);
    driver->answer(action, std::move(result));
}

void refused_entries_become_dead_letters_with_the_batch(void**) {
    for (const bool with_frame : {true, false}) {
        Driver driver;
        Postgres postgres;
        read_dead_entries(&driver, RedisStep::kReadNew, with_frame);
        const PgAction first = run_to(&driver, &postgres, PgStep::kDeadLetter);
        assert_int_equal(first.letter.id.seq, 2);  // in the order of their keys
        assert_text_equal(first.letter.reason, "why");
        assert_text_equal(first.letter.sqlstate, "");
        run_to_commit(&driver, &postgres);
        const std::map<Place, int> expected = {{{2, -1}, 1}, {{3, -1}, 1}};
        assert_true(postgres.letters == expected);
        assert_int_equal(postgres.rows.size(), with_frame ? 2 : 0);
        assert_int_equal(postgres.good_rows_tried, 0);
        if (with_frame) {
            assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2, 3});
        } else {
            assert_ids(driver.redis_until(RedisStep::kAck).ids, {2, 3});
        }
        assert_int_equal(driver.core().counts().entries_dead, 2);
        assert_int_equal(driver.core().counts().frames_duplicate, 0);
    }
}

void refused_entries_that_come_back_are_acknowledged_and_not_counted(void**) {
    Driver driver;
    Postgres postgres;
    postgres.letters = {{{2, -1}, 1}, {{3, -1}, 1}};
    read_dead_entries(&driver, RedisStep::kReadNew, true);
    run_to_commit(&driver, &postgres);
    assert_int_equal(postgres.letters[Place(2, -1)], 1);
    assert_int_equal(driver.core().counts().entries_dead, 0);
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1, 2, 3});
}

void refused_entries_and_bad_rows_meet_in_one_transaction(void**) {
    Driver driver;
    Postgres postgres;
    postgres.bad = {{1, 1}};
    read_dead_entries(&driver, RedisStep::kReadNew, true);
    run_to_commit(&driver, &postgres);
    const std::map<Place, int> expected = {{{1, 1}, 1}, {{2, -1}, 1}, {{3, -1}, 1}};
    assert_true(postgres.letters == expected);
    assert_int_equal(postgres.rows.size(), 1);
    assert_int_equal(postgres.counted, 1);
}

void what_an_entry_holds_in_memory_counts_for_the_batch(void**) {
    LoadLimits limits;
    limits.batch_bytes = 3 * 1024 * 1024;
    Driver driver(limits);
    const RedisAction action = driver.redis_until(RedisStep::kReadNew);
    auto owner = std::make_unique<OwnedRows>();
    RedisResult result;
    result.entries.push_back(make_entry(owner.get(), {1, 1}, 1, 1));
    result.entries.back().other_bytes = 2 * 1024 * 1024;
    result.bytes = std::move(owner);
    driver.answer(action, std::move(result));
    assert_true(driver.core().buffered_bytes() > 2 * 1024 * 1024);
    assert_int_not_equal(driver.core().next_redis(driver.now_).step, RedisStep::kReadNew);
}

void counts_of_pieces_are_added_up(void**) {
    Driver driver;
    Postgres postgres;
    postgres.bad = {{1, 1}, {3, 1}};
    const RedisAction action = driver.redis_until(RedisStep::kReadNew);
    auto owner = std::make_unique<OwnedRows>();
    RedisResult result;
    for (uint32_t frame = 1; frame <= 4; ++frame) {
        const int64_t t_ms = kNoonMs + frame % 2 * 60000;
        result.entries.push_back(make_entry(owner.get(), {1, frame}, frame, 3, t_ms));
    }
    result.bytes = std::move(owner);
    driver.answer(action, std::move(result));
    const PgAction count = run_to(&driver, &postgres, PgStep::kCount);
    assert_int_equal(count.counts.size(), 2);
    assert_int_equal(count.counts[0].n, 6);
    assert_int_equal(count.counts[1].n, 4);
}

void a_partition_that_is_missing_once_more_is_refused(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kNoPartition);
    const PgAction make = driver.core().next_pg(driver.now_);
    assert_int_equal(make.step, PgStep::kMakePartitions);
    driver.answer(make, {});
    assert_true(driver.core().postgres_up(driver.now_));
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kNoPartition);
    assert_int_equal(driver.core().next_pg(driver.now_).step, PgStep::kWait);
    assert_int_equal(driver.core().counts().batches_refused, 1);
    // The table may have been made anew, so its partitions are too.
    driver.pg_until(PgStep::kMakePartitions);
}

void a_missing_table_is_refused_where_its_partitions_are_made(void**) {
    Driver driver;
    driver.read(RedisStep::kReadNew, {1});
    driver.refuse(driver.pg_until(PgStep::kCopy), PgStatus::kNoPartition);
    driver.refuse(driver.pg_until(PgStep::kMakePartitions), PgStatus::kNoPartition);
    assert_int_equal(driver.core().next_pg(driver.now_).step, PgStep::kWait);
    assert_int_equal(driver.core().counts().batches_refused, 1);
    driver.commit();
    assert_ids(driver.redis_until(RedisStep::kAck).ids, {1});
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(bad_rows_become_dead_letters_wherever_they_are),
        cmocka_unit_test(a_batch_of_nothing_but_bad_rows_is_stored_without_counting),
        cmocka_unit_test(a_bad_row_of_many_takes_few_copies),
        cmocka_unit_test(only_the_batch_with_bad_rows_is_stored_carefully),
        cmocka_unit_test(a_failure_in_between_begins_the_batch_again),
        cmocka_unit_test(an_unknown_commit_with_dead_letters_is_not_done_twice),
        cmocka_unit_test(a_table_that_refuses_good_rows_makes_no_dead_letters),
        cmocka_unit_test(values_that_any_other_step_refuses_are_no_bad_rows),
        cmocka_unit_test(frames_stored_by_another_loader_meanwhile_are_not_searched),
        cmocka_unit_test(refused_entries_become_dead_letters_with_the_batch),
        cmocka_unit_test(refused_entries_that_come_back_are_acknowledged_and_not_counted),
        cmocka_unit_test(refused_entries_and_bad_rows_meet_in_one_transaction),
        cmocka_unit_test(what_an_entry_holds_in_memory_counts_for_the_batch),
        cmocka_unit_test(counts_of_pieces_are_added_up),
        cmocka_unit_test(a_partition_that_is_missing_once_more_is_refused),
        cmocka_unit_test(a_missing_table_is_refused_where_its_partitions_are_made),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

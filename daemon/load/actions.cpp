#include "daemon/load/actions.hpp"

namespace sluice {

const char* name_of(RedisStep step) noexcept {
    switch (step) {
        case RedisStep::kConnect:
            return "connect";
        case RedisStep::kEnsureGroup:
            return "make_group";
        case RedisStep::kReadOwn:
            return "read_own";
        case RedisStep::kClaim:
            return "claim";
        case RedisStep::kReadNew:
            return "read";
        case RedisStep::kAck:
            return "ack";
        case RedisStep::kInspectGroups:
            return "inspect_groups";
        case RedisStep::kInspectPending:
            return "inspect_pending";
        case RedisStep::kTrim:
            return "trim";
        case RedisStep::kInspectOldest:
            return "inspect_oldest";
        case RedisStep::kMeasure:
            return "measure";
        case RedisStep::kLook:
            return "look";
        case RedisStep::kPublish:
            return "publish";
        case RedisStep::kWait:
            return "wait";
        case RedisStep::kStop:
            return "stop";
    }
    return "";
}

const char* name_of(PgStep step) noexcept {
    switch (step) {
        case PgStep::kConnect:
            return "connect";
        case PgStep::kCheck:
            return "check";
        case PgStep::kMakePartitions:
            return "make_partitions";
        case PgStep::kReserveIds:
            return "reserve_ids";
        case PgStep::kInsertLedger:
            return "insert_ledger";
        case PgStep::kCopy:
            return "copy";
        case PgStep::kCopyGoodRows:
            return "copy_good_rows";
        case PgStep::kDeadLetter:
            return "dead_letter";
        case PgStep::kCount:
            return "count";
        case PgStep::kCommit:
            return "commit";
        case PgStep::kPruneLedger:
            return "prune_ledger";
        case PgStep::kWait:
            return "wait";
        case PgStep::kStop:
            return "stop";
    }
    return "";
}

const char* name_of(RedisStatus status) noexcept {
    switch (status) {
        case RedisStatus::kOk:
            return "ok";
        case RedisStatus::kNoGroup:
            return "no_group";
        case RedisStatus::kRefused:
            return "refused";
        case RedisStatus::kLost:
            return "lost";
    }
    return "";
}

const char* name_of(PgStatus status) noexcept {
    switch (status) {
        case PgStatus::kOk:
            return "ok";
        case PgStatus::kRetry:
            return "retry";
        case PgStatus::kLost:
            return "lost";
        case PgStatus::kNoPartition:
            return "no_partition";
        case PgStatus::kBadData:
            return "bad_data";
        case PgStatus::kRefused:
            return "refused";
    }
    return "";
}

}  // namespace sluice

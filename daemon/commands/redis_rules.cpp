#include "daemon/commands/redis_rules.hpp"

#include <charconv>
#include <utility>

#include "daemon/commands/human.hpp"

namespace sluice {
namespace {

// Of the machine's memory: while Redis rewrites its AOF, pages that change are there twice.
constexpr uint64_t kMemoryShareMost = 60;
// Of maxmemory: where the edge begins to shed, as shipped.
constexpr uint64_t kUsedShareMost = 60;

// 7.0.15 is {7, 0}.
std::pair<int, int> version_of(std::string_view text) {
    std::pair<int, int> version;
    const char* const end = text.data() + text.size();
    const auto major = std::from_chars(text.data(), end, version.first);
    if (major.ptr != end) {
        std::from_chars(major.ptr + 1, end, version.second);
    }
    return version;
}

class RedisJudgement {
  public:
    RedisJudgement(const RedisFacts& facts, Durability wanted) : facts_(facts), wanted_(wanted) {}

    Findings judge() {
        judge_version();
        judge_role();
        judge_appendonly();
        judge_fsync();
        judge_last_write();
        judge_policy();
        judge_memory();
        judge_snapshots();
        return std::move(findings_);
    }

  private:
    void add(Verdict verdict, const char* check, std::string what, std::string todo = "") {
        findings_.push_back({verdict, check, "redis: " + std::move(what), std::move(todo)});
    }
    void judge_version();
    void judge_role();
    void judge_appendonly();
    void judge_fsync();
    void judge_last_write();
    void judge_policy();
    void judge_memory();
    void judge_snapshots();

    const RedisFacts& facts_;
    Durability wanted_;
    Findings findings_;
};

void RedisJudgement::judge_version() {
    const std::string text(facts_.info_text("redis_version"));
    const std::pair<int, int> version = version_of(text);
    if (version < std::make_pair(6, 2)) {
        add(Verdict::kFail, "redis_version", "version " + text + " lacks what the loader needs",
            "install Redis 7, or 6.2 at least");
    } else if (version < std::make_pair(7, 0)) {
        add(Verdict::kWarn, "redis_version",
            "version " + text + " does not let loaders tell the edge how much waits",
            "install Redis 7");
    } else {
        add(Verdict::kOk, "redis_version", "version " + text);
    }
}

void RedisJudgement::judge_role() {
    if (facts_.info_text("loading") == "1") {
        add(Verdict::kFail, "redis_loading", "it is loading its data",
            "wait until it has; POSTs get 503 meanwhile");
    }
    const std::string role(facts_.info_text("role"));
    if (role == "master") {
        add(Verdict::kOk, "redis_role", "it is a master");
    } else {
        add(Verdict::kFail, "redis_role", "it is a " + role + ", and takes no writes",
            "give the master's address in redis.url, or make it one: REPLICAOF NO ONE");
    }
}

void RedisJudgement::judge_appendonly() {
    if (facts_.config_text("appendonly") == "yes") {
        add(Verdict::kOk, "redis_appendonly", "appendonly is on");
    } else if (wanted_ <= Durability::kMemory) {
        add(Verdict::kWarn, "redis_appendonly",
            "appendonly is off: if Redis ends, all since its last snapshot is lost",
            "nothing, if memory is all that is to be promised");
    } else {
        add(Verdict::kFail, "redis_appendonly",
            "appendonly is off: if Redis ends, all since its last snapshot is lost",
            "CONFIG SET appendonly yes, and appendonly yes in redis.conf");
    }
}

void RedisJudgement::judge_fsync() {
    if (facts_.config_text("appendonly") != "yes") {
        return;
    }
    const std::string fsync(facts_.config_text("appendfsync"));
    const Durability level = fsync == "always"     ? Durability::kFsync
                             : fsync == "everysec" ? Durability::kEverysec
                                                   : Durability::kMemory;
    if (level >= wanted_) {
        add(Verdict::kOk, "redis_appendfsync", "appendfsync is " + fsync);
    } else {
        add(Verdict::kFail, "redis_appendfsync",
            "appendfsync is " + fsync + ": " +
                (level == Durability::kEverysec ? "up to 2 seconds of" : "what the disk lacks of") +
                " acknowledged logs are lost with the power",
            "CONFIG SET appendfsync always, and the same in redis.conf; or promise less, by"
            " redis.durability and in nginx by sluice_durability");
    }
    if (facts_.config_text("no-appendfsync-on-rewrite") == "no") {
        add(Verdict::kOk, "redis_rewrite", "it syncs while the AOF is rewritten, too");
    } else {
        add(wanted_ <= Durability::kMemory ? Verdict::kWarn : Verdict::kFail, "redis_rewrite",
            "no-appendfsync-on-rewrite is on: nothing is synced while the AOF is rewritten",
            "CONFIG SET no-appendfsync-on-rewrite no, and the same in redis.conf");
    }
}

void RedisJudgement::judge_last_write() {
    if (facts_.config_text("appendonly") != "yes") {
        return;
    }
    if (aof_is_only_begun(facts_)) {
        add(wanted_ <= Durability::kMemory ? Verdict::kWarn : Verdict::kFail, "redis_aof_write",
            kAofOnlyBegun, "wait until it is; look at Redis' log if that takes long");
    } else if (facts_.info_text("aof_last_write_status") != "ok") {
        add(wanted_ <= Durability::kMemory ? Verdict::kWarn : Verdict::kFail, "redis_aof_write",
            "its last write to the AOF failed",
            "look at its log; make room on the disk of its dir (CONFIG GET dir)");
    } else if (facts_.info_text("aof_last_bgrewrite_status") != "ok") {
        add(Verdict::kWarn, "redis_aof_write",
            "its last rewrite of the AOF failed: the AOF only grows",
            "look at its log; make room on the disk of its dir (CONFIG GET dir)");
    } else {
        add(Verdict::kOk, "redis_aof_write", "its last write to the AOF went well");
    }
}

void RedisJudgement::judge_policy() {
    const std::string policy(facts_.config_text("maxmemory-policy"));
    if (policy == "noeviction") {
        add(Verdict::kOk, "redis_policy", "maxmemory-policy is noeviction");
    } else {
        add(Verdict::kFail, "redis_policy",
            "maxmemory-policy is " + policy + ": when it is full, it may drop the whole stream",
            "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf");
    }
}

void RedisJudgement::judge_memory() {
    const uint64_t most = facts_.info_number("maxmemory");
    const uint64_t used = facts_.info_number("used_memory");
    const uint64_t machine = facts_.info_number("total_system_memory");
    if (most == 0) {
        add(Verdict::kWarn, "redis_maxmemory",
            "it has no maxmemory: the edge cannot see it fill up, and the kernel may kill it",
            "CONFIG SET maxmemory to half of what the machine can spare, and the same in"
            " redis.conf");
        return;
    }
    const std::string of_most =
        human_bytes(used) + " of maxmemory " + human_bytes(most) + " are used";
    if (used * 100 >= most * kUsedShareMost) {
        add(Verdict::kWarn, "redis_maxmemory", of_most + ": the edge sheds",
            "see by sluiced status what waits; start the loader, or give Redis more memory");
    } else if (machine != 0 && most / 100 > machine / 100 * kMemoryShareMost / 100) {
        add(Verdict::kWarn, "redis_maxmemory",
            "maxmemory " + human_bytes(most) + " is much of the machine's " + human_bytes(machine) +
                ": a rewrite of the AOF may need half as much again",
            "set maxmemory to at most 60 % of the memory");
    } else {
        add(Verdict::kOk, "redis_maxmemory", of_most);
    }
}

void RedisJudgement::judge_snapshots() {
    if (facts_.config_text("save").empty() ||
        facts_.config_text("stop-writes-on-bgsave-error") != "yes") {
        add(Verdict::kOk, "redis_snapshots", "a snapshot that fails would not stop writes");
    } else if (facts_.info_text("rdb_last_bgsave_status") != "ok") {
        add(Verdict::kFail, "redis_snapshots",
            "its last snapshot failed, and so it takes no writes (stop-writes-on-bgsave-error)",
            "make room on its disk; CONFIG SET save '', as the AOF has it all");
    } else {
        add(Verdict::kWarn, "redis_snapshots",
            "it makes snapshots, and would take no writes if one failed",
            "CONFIG SET save '', and save \"\" in redis.conf, as the AOF has it all");
    }
}

}  // namespace

const char* name_of(Verdict verdict) noexcept {
    static constexpr const char* kVerdicts[] = {"ok", "warn", "FAIL"};
    return kVerdicts[static_cast<unsigned>(verdict)];
}

Findings judge_redis(const RedisFacts& facts, Durability wanted) {
    return RedisJudgement(facts, wanted).judge();
}

}  // namespace sluice

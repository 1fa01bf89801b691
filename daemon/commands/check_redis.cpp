// sluiced check: Redis.
#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "common/redis_url.hpp"
#include "daemon/clock.hpp"
#include "daemon/commands/check.hpp"
#include "daemon/commands/redis_rules.hpp"
#include "daemon/redis_connection.hpp"
#include "daemon/redis_facts.hpp"
#include "daemon/redis_login.hpp"

namespace sluice {
namespace {

constexpr const char* kNoGroup = "sluiced-check";

using Words = std::vector<std::string>;

std::string user_of(const std::string& text) {
    RedisUrl url;
    const char* wrong = nullptr;
    return parse_redis_url(text, &url, &wrong) && !url.user.empty() ? std::string(url.user)
                                                                    : "default";
}

class RedisCheck {
  public:
    RedisCheck(const Settings& settings, Durability wanted, Findings* findings)
        : settings_(settings),
          wanted_(wanted),
          redis_(redis_login_of(settings, "sluiced-check")),
          findings_(*findings) {}

    void run();

  private:
    void add(Verdict verdict, const char* check, std::string what, std::string todo = "") {
        findings_.push_back({verdict, check, "redis: " + std::move(what), std::move(todo)});
    }
    bool connect();
    void check_facts();
    void check_clock();
    void check_rights();
    void check_stream();
    void check_groups();
    void check_loader();
    void check_reader();
    [[nodiscard]] std::vector<Words> loader_commands() const;
    [[nodiscard]] std::vector<Words> reader_commands() const;
    [[nodiscard]] std::string find_missing(RedisConnection* redis,
                                           const std::vector<Words>& commands,
                                           std::string* grants) const;
    [[nodiscard]] std::string user() const { return user_of(settings_.redis_url); }

    const Settings& settings_;
    Durability wanted_;
    RedisConnection redis_;
    Findings& findings_;
};

void RedisCheck::run() {
    if (!connect()) {
        return;
    }
    check_facts();
    check_clock();
    check_rights();
    check_reader();
    check_stream();
    check_loader();
    if (!redis_.is_open()) {
        add(Verdict::kFail, "redis_connection", "the connection was lost: " + redis_.error(),
            "run it again; look at Redis' log");
    }
}

bool RedisCheck::connect() {
    const bool connected = redis_.connect();
    const std::string place = redis_place(settings_);
    if (!redis_.is_open()) {
        add(Verdict::kFail, "redis_connection", place + " cannot be reached: " + redis_.error(),
            "start Redis; is redis.url right, and may this user reach it?");
        return false;
    }
    add(Verdict::kOk, "redis_connection", place + " answers");
    if (redis_.is_local()) {
        add(Verdict::kOk, "redis_tls", "what is said to it stays on this machine");
    } else {
        add(Verdict::kWarn, "redis_tls",
            place + " is spoken to without TLS: passwords and logs can be read on their way",
            "keep that network closed to others, or put a tunnel (stunnel, WireGuard) into it");
    }
    // Redis' own words quote what it was told.
    if (!connected) {
        add(Verdict::kFail, "redis_login", "it refuses the login: " + redis_.error(),
            "give user and password in redis.url or redis.password_file; the user needs +select and"
            " +client|setname");
        return false;
    }
    add(Verdict::kOk, "redis_login", "logged in as " + user());
    return true;
}

void RedisCheck::check_facts() {
    const RedisFacts facts = ask_redis_facts(&redis_);
    if (!redis_.is_open()) {
        return;
    }
    if (!facts.complete()) {
        add(Verdict::kFail, "redis_durability",
            "it does not tell how durable it is: " +
                (facts.info_error.empty() ? facts.config_error : facts.info_error),
            "ACL SETUSER " + user() +
                " +info +config|get; or run this as a user who may (SLUICED_REDIS_URL=...)");
        return;
    }
    for (Finding& finding : judge_redis(facts, wanted_)) {
        findings_.push_back(std::move(finding));
    }
}

void RedisCheck::check_clock() {
    const int64_t before_us = wall_us();
    const RedisValue time = redis_.ask({"TIME"});
    const int64_t after_us = wall_us();
    if (time.elements.size() != 2) {
        return;  // that it may not be asked is told with the other rights
    }
    const auto number = [](const std::string& text) {
        int64_t parsed = 0;
        std::from_chars(text.data(), text.data() + text.size(), parsed);
        return parsed;
    };
    findings_.push_back(
        judge_clock("redis_clock", "redis",
                    number(time.elements[0].text) * 1000000 + number(time.elements[1].text),
                    before_us, after_us));
}

// Each as the loader says it, but so that it can change nothing: of a group that is not there,
// below the first id, or with an argument that is refused. Whether a user may is asked before all
// that.
std::vector<Words> RedisCheck::loader_commands() const {
    const std::string& stream = settings_.redis_stream;
    const std::string state = stream + ":loader";
    return {{"XGROUP", "CREATE", stream, kNoGroup, "no-id"},
            {"XREADGROUP", "GROUP", kNoGroup, "c", "COUNT", "1", "STREAMS", stream, "0"},
            {"XAUTOCLAIM", stream, kNoGroup, "c", "3600000", "0-0", "COUNT", "1"},
            {"XACK", stream, kNoGroup, "0-0"},
            {"XINFO", "GROUPS", stream},
            {"XINFO", "STREAM", stream},
            {"XPENDING", stream, kNoGroup},
            {"XTRIM", stream, "MINID", "~", "0-0", "LIMIT", "1"},
            {"XRANGE", stream, "0-0", "0-0", "COUNT", "1"},
            {"HSET", state, "odd", "number", "of-words"},
            {"HGETALL", state},
            {"HDEL", state, kNoGroup},
            {"PEXPIRE", state, "no-number"},
            {"TIME"},
            {"EVAL", "return 0", "1", state}};
}

// As the server says it, but of a group that is not there.
std::vector<Words> RedisCheck::reader_commands() const {
    const std::string& stream = settings_.redis_stream;
    return {{"TIME"},
            {"XPENDING", stream, kNoGroup},
            {"XINFO", "GROUPS", stream},
            {"XINFO", "STREAM", stream},
            {"XREAD", "COUNT", "1", "STREAMS", stream, "$"},
            {"XRANGE", stream, "0-0", "0-0", "COUNT", "1"},
            {"MULTI"},
            {"EXEC"}};
}

// Those that the user may not run, as in an ACL; *grants what would let it.
std::string RedisCheck::find_missing(RedisConnection* redis, const std::vector<Words>& commands,
                                     std::string* grants) const {
    std::string missing;
    bool of_keys = false;
    for (const Words& words : commands) {
        const RedisValue reply = redis->ask(words);
        // EXEC puts other words in front of it.
        if (reply.kind != RedisValue::Kind::kError ||
            reply.text.find("NOPERM ") == std::string::npos) {
            continue;
        }
        std::string name = words[0];
        if (name == "XINFO" || name == "XGROUP") {
            name += "|" + words[1];
        }
        std::transform(name.begin(), name.end(), name.begin(),
                       [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
        missing += (missing.empty() ? "" : ", ") + name;
        if (reply.text.find("key") == std::string::npos) {
            *grants += " +" + name;
        } else {
            of_keys = true;
        }
    }
    if (of_keys) {
        *grants += " ~" + settings_.redis_stream + "*";
    }
    return missing;
}

void RedisCheck::check_rights() {
    std::string grants;
    const std::string missing = find_missing(&redis_, loader_commands(), &grants);
    if (missing.empty()) {
        add(Verdict::kOk, "redis_rights", "the user may do all that a loader does");
    } else {
        add(Verdict::kFail, "redis_rights",
            "the user " + user() + " may not run, on the keys of the stream: " + missing,
            "ACL SETUSER " + user() + grants);
    }
}

// Without it pages are answered, but none is final.
void RedisCheck::check_reader() {
    const RedisLogin login = redis_reader_login_of(settings_, "sluiced-check");
    const std::string name = user_of(login.url);
    RedisConnection reader(login);
    if (!reader.connect()) {
        add(Verdict::kFail, "redis_reader_login",
            "the server cannot log in as " + name + ": " + reader.error(),
            "are redis.reader_url and redis.reader_password_file right? The user needs +select and"
            " +client|setname");
        return;
    }
    add(Verdict::kOk, "redis_reader_login", "the server logs in as " + name);
    std::string grants;
    const std::string missing = find_missing(&reader, reader_commands(), &grants);
    if (missing.empty()) {
        add(Verdict::kOk, "redis_reader_rights",
            "the server's user " + name + " may ask all that it has to");
    } else {
        add(Verdict::kFail, "redis_reader_rights",
            "the server's user " + name + " may not run, on the keys of the stream: " + missing,
            "ACL SETUSER " + name + grants);
    }
}

void RedisCheck::check_stream() {
    const RedisValue stream = redis_.ask({"XINFO", "STREAM", settings_.redis_stream});
    if (stream.kind == RedisValue::Kind::kArray) {
        add(Verdict::kOk, "redis_stream",
            settings_.redis_stream + " has " + fields_of(stream)["length"] + " entries");
        check_groups();
    } else if (stream.text.compare(0, 9, "WRONGTYPE") == 0) {
        add(Verdict::kFail, "redis_stream", settings_.redis_stream + " is a key, and no stream",
            "give a key of its own in redis.stream, and in nginx by sluice_stream");
    } else if (stream.text.find("no such key") != std::string::npos) {
        add(Verdict::kWarn, "redis_stream", "there is no " + settings_.redis_stream + " yet",
            "start the loader (sluiced load), which makes it and its group");
    }
}

void RedisCheck::check_groups() {
    const RedisValue reply = redis_.ask({"XINFO", "GROUPS", settings_.redis_stream});
    if (reply.failed()) {
        return;
    }
    std::vector<std::string> groups;
    for (const RedisValue& group : reply.elements) {
        groups.push_back(fields_of(group)["name"]);
    }
    const auto there = [&groups](const std::string& name) {
        return std::find(groups.begin(), groups.end(), name) != groups.end();
    };
    if (there(settings_.redis_group)) {
        add(Verdict::kOk, "redis_group", "the group " + settings_.redis_group + " is there");
    } else {
        add(Verdict::kWarn, "redis_group", "there is no group " + settings_.redis_group + " yet",
            "start the loader (sluiced load), which makes it");
    }
    for (const std::string& name : settings_.redis_other_groups) {
        if (!there(name)) {
            add(Verdict::kWarn, "redis_other_groups",
                "there is no group " + name + ": the stream is not trimmed, and grows",
                "XGROUP CREATE " + settings_.redis_stream + " " + name +
                    " 0, or take it out of redis.other_groups");
        }
    }
}

void RedisCheck::check_loader() {
    const RedisValue reply = redis_.ask({"HGETALL", settings_.redis_stream + ":loader"});
    if (reply.failed()) {
        return;
    }
    auto state = fields_of(reply);
    if (state.empty()) {
        findings_.push_back({Verdict::kWarn, "loader", "loader: none tells that it runs",
                             "start one: sluiced load; or look at its log"});
    } else if (state["postgres"] != "up") {
        findings_.push_back({Verdict::kFail, "loader", "loader: it cannot reach Postgres",
                             "look at its log, and at what is said of postgres here"});
    } else {
        findings_.push_back({Verdict::kOk, "loader", "loader: it runs, and reaches Postgres", ""});
    }
}

}  // namespace

void check_redis(const Settings& settings, Durability wanted, Findings* findings) {
    RedisCheck(settings, wanted, findings).run();
}

}  // namespace sluice

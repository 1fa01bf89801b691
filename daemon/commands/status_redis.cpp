// sluiced status: Redis, the stream in it, and what loaders tell there.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "daemon/clock.hpp"
#include "daemon/commands/status.hpp"
#include "daemon/entry.hpp"
#include "daemon/load/actions.hpp"
#include "daemon/redis_connection.hpp"
#include "daemon/redis_facts.hpp"
#include "daemon/redis_login.hpp"

namespace sluice {
namespace {

constexpr std::chrono::seconds kBetween(1);
// What entries hold is guessed by a few of them: each may be a megabyte.
constexpr const char* kEntriesSampled = "8";

using Fields = std::map<std::string, std::string, std::less<>>;

uint64_t number_of(const Fields& fields, const char* name) {
    const auto found = fields.find(name);
    uint64_t number = 0;
    if (found != fields.end()) {
        const std::string& text = found->second;
        std::from_chars(text.data(), text.data() + text.size(), number);
    }
    return number;
}

StreamId id_of(const std::string& text) {
    StreamId id;
    return parse_stream_id(text, &id) ? id : StreamId();
}

class RedisAsking {
  public:
    RedisAsking(const Settings& settings, RedisStatusReport* report)
        : settings_(settings),
          redis_(redis_login_of(settings, "sluiced-status")),
          report_(*report) {}

    void run();

  private:
    struct Look {
        StreamLength stream;
        int64_t at_us = 0;
    };

    void ask_memory();
    void ask_loader();
    bool look(Look* out);
    void ask_backlog(const StreamLength& stream);
    bool find_group(GroupPosition* group);
    void ask_oldest(const GroupPosition& group);
    // Records and bytes of some entries; their times are appended.
    EntrySize sizes_of(const RedisValue& entries, std::vector<int64_t>* times_ms);

    const Settings& settings_;
    RedisConnection redis_;
    RedisStatusReport& report_;
    EntryReader reader_;
    EntrySize waiting_size_;
};

void RedisAsking::run() {
    if (!redis_.connect()) {
        report_.error = redis_.error();
        return;
    }
    Look first;
    const bool there = look(&first);
    ask_memory();
    if (there) {
        std::this_thread::sleep_for(kBetween);
    }
    Look second;
    if (there && look(&second)) {
        const RedisValue newest =
            redis_.ask({"XREVRANGE", settings_.redis_stream, "+", "-", "COUNT", kEntriesSampled});
        std::vector<int64_t> times_ms;
        const double seconds = static_cast<double>(second.at_us - first.at_us) / 1e6;
        const uint64_t entries = second.stream.added - first.stream.added;
        const Amount added = sizes_of(newest, &times_ms).of(entries);
        report_.intake_entries = static_cast<uint64_t>(static_cast<double>(entries) / seconds);
        report_.intake = {static_cast<uint64_t>(static_cast<double>(added.records) / seconds),
                          static_cast<uint64_t>(static_cast<double>(added.bytes) / seconds)};
        ask_backlog(second.stream);
    }
    // Last, as what it tells is as new as what is counted here.
    ask_loader();
    if (!redis_.is_open()) {
        report_.error = redis_.error();
    }
}

void RedisAsking::ask_memory() {
    const RedisFacts facts = ask_redis_facts(&redis_);
    if (facts.complete()) {
        report_.durability = durability_of(facts).level;
    }
    if (facts.info_error.empty()) {
        report_.used_bytes = facts.info_number("used_memory");
        report_.bytes_max = facts.info_number("maxmemory");
    }
}

bool RedisAsking::look(Look* out) {
    const RedisValue reply = redis_.ask({"XINFO", "STREAM", settings_.redis_stream});
    out->at_us = steady_us();
    Fields fields = fields_of(reply);
    out->stream.entries = number_of(fields, "length");
    out->stream.added = number_of(fields, "entries-added");
    out->stream.last_generated = id_of(fields["last-generated-id"]);
    Fields kept = fields_of(redis_.ask({"HGETALL", settings_.redis_stream + ":kept"}));
    out->stream.kept = number_of(kept, "entries");
    return reply.kind == RedisValue::Kind::kArray;
}

bool RedisAsking::find_group(GroupPosition* group) {
    const RedisValue reply = redis_.ask({"XINFO", "GROUPS", settings_.redis_stream});
    for (const RedisValue& element : reply.elements) {
        Fields fields = fields_of(element);
        if (fields["name"] == settings_.redis_group) {
            group->last_delivered = id_of(fields["last-delivered-id"]);
            group->pending = number_of(fields, "pending");
            group->entries_read_known = !fields["entries-read"].empty();
            group->entries_read = number_of(fields, "entries-read");
            return true;
        }
    }
    return false;
}

// As far as one can see from here; loaders, who have watched, know better.
void RedisAsking::ask_backlog(const StreamLength& stream) {
    GroupPosition group;
    // Without the group all of it waits, to be read when there is one.
    report_.backlog_entries =
        find_group(&group) ? BacklogCount().entries(stream, group) : stream.entries;
    ask_oldest(group);
    report_.backlog = waiting_size_.of(*report_.backlog_entries);
}

void RedisAsking::ask_oldest(const GroupPosition& group) {
    std::vector<int64_t> times_ms;
    if (group.last_delivered != kStreamIdMax) {
        waiting_size_ = sizes_of(
            redis_.ask({"XRANGE", settings_.redis_stream, to_string(group.last_delivered.next()),
                        "+", "COUNT", kEntriesSampled}),
            &times_ms);
    }
    if (group.pending != 0) {
        const RedisValue pending =
            redis_.ask({"XPENDING", settings_.redis_stream, settings_.redis_group});
        const std::string first = pending.elements.size() > 1 ? pending.elements[1].text : "+";
        const EntrySize size = sizes_of(
            redis_.ask({"XRANGE", settings_.redis_stream, first, "+", "COUNT", kEntriesSampled}),
            &times_ms);
        waiting_size_ = size;
    }
    if (!times_ms.empty()) {
        const int64_t oldest_ms = *std::min_element(times_ms.begin(), times_ms.end());
        report_.oldest_age_s =
            std::max(0.0, static_cast<double>(wall_us() / 1000 - oldest_ms) / 1e3);
    }
}

EntrySize RedisAsking::sizes_of(const RedisValue& entries, std::vector<int64_t>* times_ms) {
    EntrySize size;
    for (const RedisValue& element : entries.elements) {
        if (element.elements.size() != 2) {
            continue;
        }
        const std::vector<RedisValue>& texts = element.elements[1].elements;
        std::vector<EntryField> fields;
        for (size_t i = 0; i + 1 < texts.size(); i += 2) {
            fields.push_back({texts[i].text, texts[i + 1].text});
        }
        EntryBytes kept;
        const Entry entry =
            reader_.read(id_of(element.elements[0].text), fields.data(), fields.size(), &kept);
        if (entry.error != FrameError::kUnknownVersion) {
            size.seen(entry.frame.records, entry.frame.rows.size());
            times_ms->push_back(entry.frame.receive_time_ms);
        }
    }
    return size;
}

void RedisAsking::ask_loader() {
    // It lives for as long as somebody tells.
    const Fields told = fields_of(redis_.ask({"HGETALL", settings_.redis_stream + ":loader"}));
    report_.loader_tells = !told.empty();
    if (told.empty()) {
        return;
    }
    const auto postgres = told.find("postgres");
    report_.postgres_up = postgres != told.end() && postgres->second == "up";
    report_.drain = {number_of(told, "drain_records"), number_of(told, "drain_bytes")};
    const auto entries = told.find("backlog_entries");
    if (entries != told.end() && !entries->second.empty()) {
        report_.backlog_entries = number_of(told, "backlog_entries");
        report_.backlog = {number_of(told, "backlog_records"), number_of(told, "backlog_bytes")};
    }
}

}  // namespace

void ask_redis_status(const Settings& settings, RedisStatusReport* report) {
    RedisAsking(settings, report).run();
}

}  // namespace sluice

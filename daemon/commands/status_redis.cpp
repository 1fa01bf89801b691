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
#include "daemon/load/waiting.hpp"
#include "daemon/redis_connection.hpp"
#include "daemon/redis_facts.hpp"
#include "daemon/redis_login.hpp"

namespace sluice {
namespace {

constexpr std::chrono::seconds kBetween(1);
// What entries hold is guessed by a few of them: each may be a megabyte.
constexpr uint32_t kEntriesSampled = 8;
// How often it is looked at what waits: in some places each time.
constexpr int kLooks = 2;

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
    Amount undelivered(const StreamLength& stream, const GroupPosition& group, uint64_t entries);
    // Entries from this id on; the oldest of their times becomes that of what waits if it is older.
    EntrySample look_at(const StreamId& from, uint32_t count);
    EntrySample sample_of(const RedisValue& entries);

    const Settings& settings_;
    RedisConnection redis_;
    RedisStatusReport& report_;
    EntryReader reader_;
    int64_t oldest_ms_ = INT64_MAX;
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
        const EntrySample newest =
            sample_of(redis_.ask({"XREVRANGE", settings_.redis_stream, "+", "-", "COUNT",
                                  std::to_string(kEntriesSampled)}));
        const double seconds = static_cast<double>(second.at_us - first.at_us) / 1e6;
        const uint64_t entries = second.stream.added - first.stream.added;
        const Amount added = newest.of(entries);
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
    oldest_ms_ = INT64_MAX;  // of what waits alone
    report_.backlog = undelivered(stream, group, *report_.backlog_entries - group.pending);
    if (group.pending != 0) {
        const RedisValue pending =
            redis_.ask({"XPENDING", settings_.redis_stream, settings_.redis_group});
        const StreamId first =
            pending.elements.size() > 1 ? id_of(pending.elements[1].text) : kStreamIdMax;
        const Amount held = look_at(first, kEntriesSampled).of(group.pending);
        report_.backlog = {report_.backlog.records + held.records,
                           report_.backlog.bytes + held.bytes};
    }
    if (oldest_ms_ != INT64_MAX) {
        report_.oldest_age_s =
            std::max(0.0, static_cast<double>(wall_us() / 1000 - oldest_ms_) / 1e3);
    }
}

// As a loader does it that has just come.
Amount RedisAsking::undelivered(const StreamLength& stream, const GroupPosition& group,
                                uint64_t entries) {
    Waiting waiting;
    for (int i = 0; i < kLooks; ++i) {
        waiting.measured(stream, group.last_delivered, entries);
        while (!waiting.places().empty()) {
            std::vector<EntrySample> found;
            uint64_t bytes = 0;
            for (const StreamId& place : waiting.places()) {
                if (bytes < Waiting::kLookBytesMax) {
                    found.push_back(look_at(place, waiting.count()));
                    bytes += found.back().bytes;
                }
            }
            waiting.looked(found);
        }
    }
    return waiting.amount();
}

EntrySample RedisAsking::look_at(const StreamId& from, uint32_t count) {
    return sample_of(redis_.ask(
        {"XRANGE", settings_.redis_stream, to_string(from), "+", "COUNT", std::to_string(count)}));
}

EntrySample RedisAsking::sample_of(const RedisValue& entries) {
    EntrySample sample;
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
        sample.add(entry);
        if (entry.error != FrameError::kUnknownVersion) {
            oldest_ms_ = std::min(oldest_ms_, entry.frame.receive_time_ms);
        }
    }
    return sample;
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

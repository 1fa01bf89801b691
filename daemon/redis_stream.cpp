#include "daemon/redis_stream.hpp"

#include <hiredis/hiredis.h>

#include <charconv>

#include "daemon/clock.hpp"

namespace sluice {
namespace {

// How many entries one XTRIM may free: it holds up every other client meanwhile.
constexpr const char* kTrimEntriesMax = "10000";
// The edge takes a state that is older than this for unknown.
constexpr const char* kStateLifeMs = "5000";
// Keys beside the stream's.
constexpr const char* kStateKey = ":loader";
constexpr const char* kKeptKey = ":kept";

bool is_array(const redisReply* reply, size_t at_least) noexcept {
    return reply->type == REDIS_REPLY_ARRAY && reply->elements >= at_least;
}

// 0 where Redis does not know.
uint64_t number_of(const redisReply* reply) noexcept {
    return reply->type == REDIS_REPLY_INTEGER ? static_cast<uint64_t>(reply->integer) : 0;
}

bool begins_with(std::string_view text, std::string_view prefix) noexcept {
    return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

// Keeps a reply alive for as long as a batch needs the rows in it.
class RedisStream::ReplyBytes : public EntryBytes {
  public:
    void keep_reply(ReplyPtr reply) { reply_ = std::move(reply); }

  private:
    ReplyPtr reply_;
};

RedisStream::RedisStream(RedisOptions options)
    : options_(std::move(options)),
      connection_(options_.login),
      claim_idle_ms_(options_.claim_idle_ms) {}

RedisResult RedisStream::perform(const RedisAction& action) {
    switch (action.step) {
        case RedisStep::kConnect:
            return connect();
        case RedisStep::kEnsureGroup:
            return ensure_group();
        case RedisStep::kReadOwn:
        case RedisStep::kReadNew:
            return read(action);
        case RedisStep::kClaim:
            return claim(action);
        case RedisStep::kAck:
            return ack(action);
        case RedisStep::kInspectGroups:
            return inspect_groups();
        case RedisStep::kInspectPending:
            return inspect_pending(action);
        case RedisStep::kTrim:
            return trim(action);
        case RedisStep::kInspectOldest:
            return inspect_oldest();
        case RedisStep::kMeasure:
            return measure();
        case RedisStep::kLook:
            return look(action);
        case RedisStep::kPublish:
            return publish(action.state);
        case RedisStep::kWait:
        case RedisStep::kStop:
            break;
    }
    return {};
}

RedisResult RedisStream::connect() {
    if (!connection_.connect()) {
        return lost(connection_.error());
    }
    error_.clear();
    return {};
}

RedisResult RedisStream::ensure_group() {
    const ReplyPtr reply =
        connection_.command({"XGROUP", "CREATE", options_.stream, options_.group, "0", "MKSTREAM"});
    RedisResult result;
    if (reply && reply->type == REDIS_REPLY_STATUS) {
        result.group_made = true;
        return result;
    }
    if (reply && begins_with(text_of(reply.get()), "BUSYGROUP")) {
        return result;
    }
    if (reply && begins_with(text_of(reply.get()), "OOM")) {
        return ensure_group_in_full_redis();
    }
    return failure(reply.get());
}

// Without the group a full Redis would stay full, as long as edges use what little becomes free.
RedisResult RedisStream::ensure_group_in_full_redis() {
    static const std::string kScript =
        "#!lua flags=allow-oom\n"
        "return redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')";
    const ReplyPtr reply =
        connection_.command({"EVAL", kScript, "1", options_.stream, options_.group});
    RedisResult result;
    result.group_made = reply && reply->type == REDIS_REPLY_STATUS;
    if (result.group_made || (reply && begins_with(text_of(reply.get()), "BUSYGROUP"))) {
        return result;
    }
    return failure(reply.get());
}

RedisResult RedisStream::read(const RedisAction& action) {
    std::vector<std::string> words = {"XREADGROUP",      "GROUP", options_.group,
                                      options_.consumer, "COUNT", std::to_string(action.count)};
    if (action.block_ms != 0) {
        words.emplace_back("BLOCK");
        words.push_back(std::to_string(action.block_ms));
    }
    const bool own = action.step == RedisStep::kReadOwn;
    words.insert(words.end(), {"STREAMS", options_.stream, own ? to_string(action.from) : ">"});
    ReplyPtr reply = connection_.command(words, action.block_ms);
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
        return failure(reply.get());
    }
    RedisResult result;
    if (reply->type == REDIS_REPLY_NIL) {
        return result;
    }
    auto bytes = std::make_unique<ReplyBytes>();
    // [[stream, entries]]
    if (!is_array(reply.get(), 1) || !is_array(reply->element[0], 2) ||
        !read_entries(reply->element[0]->element[1], bytes.get(), &result.entries)) {
        return unexpected("XREADGROUP");
    }
    bytes->keep_reply(std::move(reply));
    result.bytes = std::move(bytes);
    return result;
}

RedisResult RedisStream::claim(const RedisAction& action) {
    ReplyPtr reply =
        connection_.command({"XAUTOCLAIM", options_.stream, options_.group, options_.consumer,
                             std::to_string(claim_idle_ms_), to_string(action.from), "COUNT",
                             std::to_string(action.count)});
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
        return failure(reply.get());
    }
    // [cursor, entries, deleted ids]
    RedisResult result;
    auto bytes = std::make_unique<ReplyBytes>();
    if (!is_array(reply.get(), 2) || !parse_stream_id(text_of(reply->element[0]), &result.cursor) ||
        !read_entries(reply->element[1], bytes.get(), &result.entries)) {
        return unexpected("XAUTOCLAIM");
    }
    if (reply->elements > 2 && reply->element[2]->type == REDIS_REPLY_ARRAY) {
        result.gone = reply->element[2]->elements;
    }
    bytes->keep_reply(std::move(reply));
    result.bytes = std::move(bytes);
    return result;
}

RedisResult RedisStream::ack(const RedisAction& action) {
    std::vector<std::string> words = {"XACK", options_.stream, options_.group};
    words.reserve(words.size() + action.ids.size());
    for (const StreamId& id : action.ids) {
        words.push_back(to_string(id));
    }
    const ReplyPtr reply = connection_.command(words);
    return reply && reply->type == REDIS_REPLY_INTEGER ? RedisResult{} : failure(reply.get());
}

RedisResult RedisStream::inspect_groups() {
    const ReplyPtr reply = connection_.command({"XINFO", "GROUPS", options_.stream});
    if (!reply || reply->type != REDIS_REPLY_ARRAY) {
        return failure(reply.get());
    }
    // Of each group, names and values in turns; later versions of Redis may add some.
    RedisResult result;
    for (size_t i = 0; i < reply->elements; ++i) {
        const redisReply* group = reply->element[i];
        GroupPosition position;
        bool known = false;
        for (size_t j = 0; group->type == REDIS_REPLY_ARRAY && j + 1 < group->elements; j += 2) {
            const std::string_view name = text_of(group->element[j]);
            const std::string_view value = text_of(group->element[j + 1]);
            if (name == "name") {
                position.name = std::string(value);
            } else if (name == "last-delivered-id") {
                known = parse_stream_id(value, &position.last_delivered);
            } else if (name == "pending") {
                position.pending = number_of(group->element[j + 1]);
            } else if (name == "entries-read") {
                position.entries_read_known = group->element[j + 1]->type == REDIS_REPLY_INTEGER;
                position.entries_read = number_of(group->element[j + 1]);
            }
        }
        if (known) {
            result.groups.push_back(std::move(position));
        }
    }
    return result;
}

RedisResult RedisStream::inspect_pending(const RedisAction& action) {
    const ReplyPtr reply = connection_.command({"XPENDING", options_.stream, action.group});
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
        return failure(reply.get());
    }
    // [count, smallest id, greatest id, consumers]
    RedisResult result;
    if (!is_array(reply.get(), 2) || reply->element[0]->type != REDIS_REPLY_INTEGER) {
        return unexpected("XPENDING");
    }
    result.has_pending = reply->element[0]->integer != 0;
    if (result.has_pending && !parse_stream_id(text_of(reply->element[1]), &result.first_pending)) {
        return unexpected("XPENDING");
    }
    return result;
}

// The length is looked at and the entries are removed at one moment: loaders trim beside each
// other. A LIMIT is never passed, and 0 would be none. XINFO, as a loader may run it anyway; first
// comes the length.
RedisResult RedisStream::trim(const RedisAction& action) {
    static const std::string kScript =
        "#!lua flags=allow-oom\n"
        "local more = redis.call('XINFO', 'STREAM', KEYS[1])[2] - tonumber(ARGV[2])\n"
        "if more <= 0 then return 0 end\n"
        "local limit = string.format('%.0f', math.min(more, tonumber(ARGV[3])))\n"
        "return redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[1], 'LIMIT', limit)";
    const ReplyPtr reply =
        connection_.command({"EVAL", kScript, "1", options_.stream, to_string(action.from),
                             std::to_string(action.keep), kTrimEntriesMax});
    if (!reply || reply->type != REDIS_REPLY_INTEGER) {
        return failure(reply.get());
    }
    RedisResult result;
    result.trimmed = static_cast<uint64_t>(reply->integer);
    return result;
}

RedisResult RedisStream::inspect_oldest() {
    ReplyPtr reply = connection_.command({"XRANGE", options_.stream, "-", "+", "COUNT", "1"});
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
        return failure(reply.get());
    }
    RedisResult result;
    auto bytes = std::make_unique<ReplyBytes>();
    if (!read_entries(reply.get(), bytes.get(), &result.entries)) {
        return unexpected("XRANGE");
    }
    bytes->keep_reply(std::move(reply));
    result.bytes = std::move(bytes);
    return result;
}

bool RedisStream::read_entries(const redisReply* reply, EntryBytes* bytes,
                               std::vector<Entry>* out) {
    if (reply->type != REDIS_REPLY_ARRAY) {
        return false;
    }
    out->reserve(reply->elements);
    for (size_t i = 0; i < reply->elements; ++i) {
        if (reply->element[i]->type == REDIS_REPLY_NIL) {
            continue;  // how XAUTOCLAIM before Redis 7 says that an entry is gone
        }
        Entry entry;
        if (!read_stream_entry(reply->element[i], bytes, &entry)) {
            return false;
        }
        out->push_back(entry);
    }
    return true;
}

// [id, [name, value, ...]]; the fields are nil when the entry is pending but gone.
bool RedisStream::read_stream_entry(const redisReply* reply, EntryBytes* bytes, Entry* out) {
    StreamId id;
    if (!is_array(reply, 2) || !parse_stream_id(text_of(reply->element[0]), &id)) {
        return false;
    }
    const redisReply* body = reply->element[1];
    if (body->type != REDIS_REPLY_ARRAY) {
        out->id = id;
        out->gone = true;
        return true;
    }
    fields_.clear();
    for (size_t i = 0; i + 1 < body->elements; i += 2) {
        fields_.push_back({text_of(body->element[i]), text_of(body->element[i + 1])});
    }
    *out = reader_.read(id, fields_.data(), fields_.size(), bytes);
    return true;
}

// In this order, for BacklogCount. The first and the last entry come with the stream's length.
RedisResult RedisStream::measure() {
    RedisResult result = inspect_groups();
    if (result.status != RedisStatus::kOk) {
        return result;
    }
    const ReplyPtr reply = connection_.command({"XINFO", "STREAM", options_.stream});
    if (!reply || reply->type != REDIS_REPLY_ARRAY) {
        return failure(reply.get());
    }
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const std::string_view name = text_of(reply->element[i]);
        const redisReply* value = reply->element[i + 1];
        if (name == "length") {
            result.stream.entries = number_of(value);
        } else if (name == "entries-added") {
            result.stream.added = number_of(value);
        } else if (name == "last-generated-id" &&
                   !parse_stream_id(text_of(value), &result.stream.last_generated)) {
            return unexpected("XINFO STREAM");
        }
    }
    read_kept(&result);
    read_memory(&result);
    return result;
}

RedisResult RedisStream::look(const RedisAction& action) {
    RedisResult result;
    uint64_t bytes = 0;
    for (size_t i = 0; i < action.places.size() && bytes < Waiting::kLookBytesMax; ++i) {
        const ReplyPtr reply =
            connection_.command({"XRANGE", options_.stream, to_string(action.places[i]), "+",
                                 "COUNT", std::to_string(action.count)});
        if (!reply || reply->type == REDIS_REPLY_ERROR) {
            return failure(reply.get());
        }
        EntryBytes made;
        std::vector<Entry> entries;
        if (!read_entries(reply.get(), &made, &entries)) {
            return unexpected("XRANGE");
        }
        EntrySample& sample = result.samples.emplace_back();
        for (const Entry& entry : entries) {
            sample.add(entry);
        }
        bytes += sample.bytes;
    }
    return result;
}

void RedisStream::read_kept(RedisResult* result) {
    const ReplyPtr reply = connection_.command({"HGETALL", options_.stream + kKeptKey});
    for (size_t i = 0; reply && i + 1 < reply->elements; i += 2) {
        const std::string_view name = text_of(reply->element[i]);
        const std::string_view value = text_of(reply->element[i + 1]);
        uint64_t* const number = name == "entries"       ? &result->kept.entries
                                 : name == "entry_bytes" ? &result->kept.entry_bytes
                                                         : nullptr;
        if (number != nullptr) {
            std::from_chars(value.data(), value.data() + value.size(), *number);
        }
    }
    result->stream.kept = result->kept.entries;
}

// Unknown, to one who may not run INFO.
void RedisStream::read_memory(RedisResult* result) {
    const ReplyPtr reply = connection_.command({"INFO", "memory"});
    const std::string_view info = reply ? text_of(reply.get()) : std::string_view();
    const auto number = [&](std::string_view name) {
        const size_t at = info.find(name);
        uint64_t value = 0;
        if (at != std::string_view::npos) {
            const char* const begin = info.data() + at + name.size();
            std::from_chars(begin, info.data() + info.size(), value);
        }
        return value;
    };
    result->memory = {number("\nused_memory:"), number("\nmaxmemory:")};
}

// What is so of the whole group is written by whoever comes; how fast it is drained is the sum of
// what those consumers tell that live, each in a field of its own. By Redis' clock: theirs differ.
// Also when Redis is full, which is when the edge has most need of it.
RedisResult RedisStream::publish(const LoadState& state) {
    static const std::string kScript =
        "#!lua flags=allow-oom\n"
        "local key, life = KEYS[1], tonumber(ARGV[1])\n"
        "local time = redis.call('TIME')\n"
        "local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"
        "redis.call('HSET', key, 'drain:' .. ARGV[2],\n"
        "           string.format('%.0f %s %s', now, ARGV[3], ARGV[4]), unpack(ARGV, 7))\n"
        "local records, bytes = 0, 0\n"
        "local fields = redis.call('HGETALL', key)\n"
        "for i = 1, #fields, 2 do\n"
        "  if fields[i]:sub(1, 6) == 'drain:' then\n"
        "    local at, of_records, of_bytes = fields[i + 1]:match('^(%d+) (%d+) (%d+)$')\n"
        "    if at and math.abs(now - at) <= life then\n"
        "      records, bytes = records + of_records, bytes + of_bytes\n"
        "    else\n"
        "      redis.call('HDEL', key, fields[i])\n"
        "    end\n"
        "  end\n"
        "end\n"
        "redis.call('HSET', key, 'drain_records', string.format('%.0f', records),\n"
        "           'drain_bytes', string.format('%.0f', bytes))\n"
        "redis.call('PEXPIRE', key, life)\n"
        // Not with the rest, which is gone when no loader runs any more: what is kept is not.
        "if ARGV[5] ~= '' then\n"
        "  redis.call('HSET', KEYS[2], 'entries', ARGV[5])\n"
        "end\n"
        "if ARGV[6] ~= '0' then\n"
        "  redis.call('HSET', KEYS[2], 'entry_bytes', ARGV[6])\n"
        "end\n"
        "return 1";
    const auto known = [&](uint64_t number) {
        return state.backlog_known ? std::to_string(number) : std::string();
    };
    const ReplyPtr reply = connection_.command({"EVAL",
                                                kScript,
                                                "2",
                                                options_.stream + kStateKey,
                                                options_.stream + kKeptKey,
                                                kStateLifeMs,
                                                options_.consumer,  //
                                                std::to_string(state.drain.records),
                                                std::to_string(state.drain.bytes),  //
                                                known(state.kept.entries),
                                                std::to_string(state.kept.entry_bytes),  //
                                                "postgres",
                                                state.postgres_up ? "up" : "down",  //
                                                "at",
                                                std::to_string(wall_us() / 1000),  //
                                                "backlog_entries",
                                                known(state.backlog_entries),  //
                                                "backlog_records",
                                                known(state.backlog.records),  //
                                                "backlog_bytes",
                                                known(state.backlog.bytes)});
    return reply && reply->type == REDIS_REPLY_INTEGER ? RedisResult{} : failure(reply.get());
}

RedisResult RedisStream::failure(const redisReply* reply) {
    if (reply == nullptr) {
        return lost(connection_.error());
    }
    RedisResult result;
    error_ = std::string(text_of(reply));
    // A reader that blocks when the stream is deleted is told so in other words.
    result.status = begins_with(error_, "NOGROUP") || begins_with(error_, "UNBLOCKED")
                        ? RedisStatus::kNoGroup
                        : RedisStatus::kRefused;
    return result;
}

RedisResult RedisStream::lost(const std::string& why) {
    error_ = why;
    connection_.close();
    RedisResult result;
    result.status = RedisStatus::kLost;
    return result;
}

RedisResult RedisStream::unexpected(const char* command) {
    return lost(std::string("unexpected reply to ") + command);
}

}  // namespace sluice

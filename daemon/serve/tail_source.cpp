#include "daemon/serve/tail_source.hpp"

#include "daemon/redis_login.hpp"

namespace sluice {
namespace {

// An entry may be a megabyte.
constexpr const char* kEntriesAtOnce = "32";

}  // namespace

TailSource::TailSource(const Settings& settings)
    : connection_(redis_reader_login_of(settings, "sluiced-tail")),
      stream_(settings.redis_stream) {}

bool TailSource::failed(const RedisValue& reply) {
    if (reply.failed()) {
        error_ = reply.text.empty() ? connection_.error() : reply.text;
        connection_.close();
        return true;
    }
    return false;
}

bool TailSource::read_behind(const StreamId& after, int64_t wait_ms, TailEntries* out) {
    std::vector<std::string> words = {"XREAD", "COUNT", kEntriesAtOnce};
    if (wait_ms != 0) {  // to Redis this would be for ever
        words.insert(words.end(), {"BLOCK", std::to_string(wait_ms)});
    }
    words.insert(words.end(), {"STREAMS", stream_, to_string(after)});
    out->reply = connection_.ask(words, wait_ms);
    if (failed(out->reply)) {
        return false;
    }
    // [[stream, entries]], or nil
    const std::vector<RedisValue>& streams = out->reply.elements;
    if (streams.empty() || streams[0].elements.size() != 2) {
        out->entries.clear();
        return true;
    }
    return read(streams[0].elements[1], out);
}

bool TailSource::read_range(const std::string& first, const std::string& last, uint64_t count_max,
                            TailEntries* out) {
    out->reply =
        connection_.ask({"XRANGE", stream_, first, last, "COUNT", std::to_string(count_max)});
    return !failed(out->reply) && read(out->reply, out);
}

// [[id, [name, value, ...]], ...]
bool TailSource::read(const RedisValue& entries, TailEntries* out) {
    out->entries.clear();
    std::vector<EntryField> fields;
    for (const RedisValue& entry : entries.elements) {
        StreamId id;
        if (entry.elements.size() != 2 || !parse_stream_id(entry.elements[0].text, &id)) {
            error_ = "unexpected reply";
            connection_.close();
            return false;
        }
        const std::vector<RedisValue>& texts = entry.elements[1].elements;
        fields.clear();
        for (size_t i = 0; i + 1 < texts.size(); i += 2) {
            fields.push_back({texts[i].text, texts[i + 1].text});
        }
        out->entries.push_back(reader_.read(id, fields.data(), fields.size(), &out->made));
    }
    return true;
}

bool TailSource::find_ends(StreamEnds* ends) {
    const RedisValue reply = connection_.ask({"XINFO", "STREAM", stream_});
    *ends = StreamEnds{};
    if (reply.kind == RedisValue::Kind::kError &&
        reply.text.find("no such key") != std::string::npos) {
        return true;
    }
    if (failed(reply)) {
        return false;
    }
    for (size_t i = 0; i + 1 < reply.elements.size(); i += 2) {
        const std::string& name = reply.elements[i].text;
        const RedisValue& value = reply.elements[i + 1];
        if (name == "last-generated-id" && !parse_stream_id(value.text, &ends->last)) {
            return false;
        }
        if (name == "recorded-first-entry-id" && !parse_stream_id(value.text, &ends->first)) {
            return false;
        }
        if (name == "entries-added") {
            ends->added = static_cast<uint64_t>(value.integer);
        }
        if (name == "length") {
            ends->length = static_cast<uint64_t>(value.integer);
        }
    }
    return true;
}

}  // namespace sluice

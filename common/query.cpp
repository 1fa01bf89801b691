#include "common/query.hpp"

#include <simdjson.h>

#include <algorithm>
#include <charconv>

#include "common/decimal.hpp"
#include "common/json_index.hpp"
#include "common/json_scalars.hpp"
#include "common/json_walk.hpp"

namespace sluice {
namespace {

constexpr uint8_t kAllLevels = (1U << kLevelCount) - 1;

struct Path {
    QueryKind kind;
    std::string_view path;
};
constexpr Path kPaths[] = {
    {QueryKind::kLogs, "/api/logs"},
    {QueryKind::kStats, "/api/stats"},
    {QueryKind::kHits, "/api/hits"},
    {QueryKind::kTail, "/api/logs/stream"},
};

constexpr unsigned on(QueryKind kind) {
    return 1U << static_cast<unsigned>(kind);
}

// What has been read of the parameters, beside the query itself.
struct Reading {
    Query* query;
    QueryFormat preferred = QueryFormat::kPage;
    unsigned seen = 0;
    uint8_t min_levels = kAllLevels;
};

constexpr std::string_view kFormats[] = {"", "json", "ndjson", "csv"};

bool is_text(std::string_view text, size_t bytes_max) {
    return !text.empty() && text.size() <= bytes_max && text.find('\0') == std::string_view::npos &&
           simdjson::validate_utf8(text.data(), text.size());
}

bool take_device_id(std::string_view value, Query* query) {
    if (!is_text(value, kDeviceIdBytesMax) || has_control_character(value)) {
        return false;
    }
    query->device_id.set(value);
    return true;
}

// As log_data is checked in a record.
bool is_json_object(std::string_view text) {
    JsonIndex index;
    if (index.build(text.data(), text.size()) != Refusal::kNone) {
        return false;
    }
    JsonWalk walk(text, index);
    const char* failed = nullptr;
    return walk.peek() == '{' && walk.skip_value() == Refusal::kNone && walk.at_end() &&
           check_escapes(text, &failed) == Refusal::kNone;
}

bool read_device_id(std::string_view value, Reading* reading) {
    return take_device_id(value, reading->query);
}

bool read_limit(std::string_view value, Reading* reading) {
    return parse_decimal(value, kQueryExportLimitMax, &reading->query->limit) &&
           reading->query->limit > 0;
}

bool read_format(std::string_view value, Reading* reading) {
    const auto found = std::find(std::begin(kFormats) + 1, std::end(kFormats), value);
    reading->query->format = static_cast<QueryFormat>(found - std::begin(kFormats));
    return found != std::end(kFormats);
}

bool read_offset(std::string_view value, Reading* reading) {
    return parse_decimal(value, kQueryOffsetMax, &reading->query->offset);
}

bool read_level(std::string_view value, Reading* reading) {
    uint8_t levels = 0;
    for (;;) {
        const size_t comma = value.find(',');
        Level level;
        if (!parse_level(value.substr(0, comma), &level)) {
            return false;
        }
        levels = static_cast<uint8_t>(levels | 1U << static_cast<unsigned>(level));
        if (comma == std::string_view::npos) {
            break;
        }
        value.remove_prefix(comma + 1);
    }
    reading->query->levels = levels;
    return true;
}

bool read_min_level(std::string_view value, Reading* reading) {
    Level level;
    if (!parse_level(value, &level)) {
        return false;
    }
    reading->min_levels =
        static_cast<uint8_t>(kAllLevels & ~((1U << static_cast<unsigned>(level)) - 1));
    return true;
}

bool read_from(std::string_view value, Reading* reading) {
    return parse_query_time(value, &reading->query->from);
}

bool read_to(std::string_view value, Reading* reading) {
    return parse_query_time(value, &reading->query->to);
}

bool read_order(std::string_view value, Reading* reading) {
    reading->query->ascending = value == "asc";
    return value == "asc" || value == "desc";
}

bool read_text(std::string_view value, Reading* reading) {
    if (!is_text(value, kQueryTextBytesMax)) {
        return false;
    }
    reading->query->text.set(value);
    return true;
}

bool read_contains(std::string_view value, Reading* reading) {
    if (value.size() > kQueryContainsBytesMax || !is_json_object(value)) {
        return false;
    }
    reading->query->contains.set(value);
    return true;
}

bool read_cursor(std::string_view value, Reading* reading) {
    reading->query->has_cursor = parse_cursor(value, &reading->query->cursor);
    return reading->query->has_cursor;
}

bool read_step(std::string_view value, Reading* reading) {
    return parse_step(value, &reading->query->step_s);
}

constexpr unsigned kOfLogs = on(QueryKind::kLogs) | on(QueryKind::kTail);
constexpr unsigned kOfLevels = kOfLogs | on(QueryKind::kHits);

struct Parameter {
    std::string_view name;
    unsigned kinds;
    bool (*read)(std::string_view value, Reading* reading);
    const char* rule;
};

constexpr const char* kTimeRule =
    "must be a time in RFC 3339, a number since 1970 (s, ms, us or ns), or so long ago as in -90s, "
    "-15m, -2h or -7d";

constexpr const char* kLimitRule =
    "must be a whole number from 1 to 1000, with format up to 100000000";

constexpr Parameter kParameters[] = {
    {"device_id", kOfLogs, read_device_id,
     "must be 1 to 50 bytes of UTF-8 without control characters"},
    {"limit", on(QueryKind::kLogs), read_limit, kLimitRule},
    {"offset", on(QueryKind::kLogs), read_offset, "must be a whole number from 0 to 100000"},
    {"cursor", on(QueryKind::kLogs), read_cursor, "must be the next_cursor of a page, as it was"},
    {"level", kOfLevels, read_level,
     "must be one or several of DEBUG, INFO, WARNING, ERROR, CRITICAL, separated by commas"},
    {"min_level", kOfLevels, read_min_level,
     "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"},
    {"from", on(QueryKind::kLogs) | on(QueryKind::kHits), read_from, kTimeRule},
    {"to", on(QueryKind::kLogs) | on(QueryKind::kHits), read_to, kTimeRule},
    {"q", kOfLogs, read_text, "must be 1 to 200 bytes of UTF-8"},
    {"contains", kOfLogs, read_contains, "must be a JSON object of at most 1000 bytes"},
    {"order", on(QueryKind::kLogs), read_order, "must be desc or asc"},
    {"format", on(QueryKind::kLogs), read_format, "must be json, ndjson or csv"},
    {"step", on(QueryKind::kHits), read_step,
     "must be one of 1m, 5m, 10m, 15m, 30m, 1h, 2h, 3h, 6h, 12h, 1d"},
};
constexpr size_t kNameBytesMax = 16;
constexpr size_t kValueBytesMax = kPercentFactor * kQueryContainsBytesMax;

const Parameter* find_parameter(std::string_view raw, QueryKind kind) {
    char decoded[kPercentFactor * kNameBytesMax];
    const char* end = raw.size() <= sizeof decoded ? percent_decode(raw, true, decoded) : nullptr;
    if (end == nullptr) {
        return nullptr;
    }
    const std::string_view name(decoded, static_cast<size_t>(end - decoded));
    for (const Parameter& parameter : kParameters) {
        if (parameter.name == name && (parameter.kinds & on(kind)) != 0) {
            return &parameter;
        }
    }
    return nullptr;
}

bool read_pair(std::string_view pair, Reading* reading, QueryError* error) {
    const size_t equals = pair.find('=');
    const std::string_view name = pair.substr(0, equals);
    const Parameter* parameter = find_parameter(name, reading->query->kind);
    if (parameter == nullptr) {
        *error = {name, "unknown_parameter", "is not a parameter of this endpoint"};
        return false;
    }
    const unsigned bit = 1U << (parameter - kParameters);
    if ((reading->seen & bit) != 0) {
        *error = {name, "duplicate_parameter", "must not be given twice"};
        return false;
    }
    reading->seen |= bit;

    char decoded[kValueBytesMax];
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    const char* end =
        value.size() <= sizeof decoded ? percent_decode(value, true, decoded) : nullptr;
    if (end == nullptr ||
        !parameter->read({decoded, static_cast<size_t>(end - decoded)}, reading)) {
        *error = {name, "bad_parameter", parameter->rule};
        return false;
    }
    return true;
}

// What is right by itself and wrong together.
bool settle(const Reading& reading, QueryError* error) {
    Query* query = reading.query;
    const uint8_t levels = (query->levels == 0 ? kAllLevels : query->levels) & reading.min_levels;
    if (levels == 0) {
        *error = {"min_level", "bad_parameter", "leaves none of the levels that level asks for"};
        return false;
    }
    query->levels = levels == kAllLevels ? 0 : levels;
    if (query->format == QueryFormat::kPage && query->kind == QueryKind::kLogs &&
        query->offset == 0) {
        query->format = reading.preferred;
    }
    if (query->format == QueryFormat::kPage && query->limit > kQueryLimitMax) {
        *error = {"limit", "bad_parameter", kLimitRule};
        return false;
    }
    if (query->format == QueryFormat::kPage && query->limit == 0) {
        query->limit = kQueryLimitDefault;
    }
    if (query->from.given() && query->to.given() && query->from.kind == query->to.kind &&
        query->from.resolve(0) >= query->to.resolve(0)) {
        *error = {"to", "bad_parameter", "must be later than from"};
        return false;
    }
    // A walk by cursor has no use for it, and a search does not know how much it would leave out.
    if (query->offset != 0 && (query->has_cursor || query->text.given() ||
                               query->contains.given() || query->format != QueryFormat::kPage)) {
        *error = {"offset", "bad_parameter",
                  "must not be given together with cursor, q, contains or format"};
        return false;
    }
    return true;
}

// The path's endpoint, and the device in it, if there is one.
QueryVerdict read_path(std::string_view path, Query* query, QueryError* error) {
    for (const Path& known : kPaths) {
        if (path == known.path) {
            query->kind = known.kind;
            return QueryVerdict::kGood;
        }
    }
    constexpr std::string_view kDevices = "/api/logs/";
    const std::string_view segment =
        path.substr(0, kDevices.size()) == kDevices ? path.substr(kDevices.size()) : "";
    if (segment.empty() || segment.find('/') != std::string_view::npos) {
        return QueryVerdict::kNoEndpoint;
    }
    char decoded[kPercentFactor * kDeviceIdBytesMax];
    const char* end =
        segment.size() <= sizeof decoded ? percent_decode(segment, false, decoded) : nullptr;
    if (end == nullptr || !take_device_id({decoded, static_cast<size_t>(end - decoded)}, query)) {
        *error = {"device_id", "bad_parameter", kParameters[0].rule};
        return QueryVerdict::kBad;
    }
    return QueryVerdict::kGood;
}

// Writes name=value pairs behind a path.
class TargetWriter {
  public:
    explicit TargetWriter(char* out) noexcept : out_(out) {}

    void path(std::string_view path) noexcept { put(path); }
    void text(std::string_view name, std::string_view value) noexcept {
        begin(name);
        out_ = percent_encode(value, out_);
    }
    void number(std::string_view name, uint32_t value) noexcept {
        begin(name);
        out_ = std::to_chars(out_, out_ + 10, value).ptr;
    }
    void time(std::string_view name, const QueryTime& time) noexcept {
        begin(name);
        out_ = write_query_time(time, out_);
    }
    void levels(uint8_t levels) noexcept {
        begin("level");
        bool first = true;
        for (unsigned level = 0; level < kLevelCount; level++) {
            if ((levels & 1U << level) != 0) {
                put(first ? "" : ",");
                put(kLevelNames[level]);
                first = false;
            }
        }
    }
    void step(uint32_t seconds) noexcept {
        begin("step");
        out_ = write_step(seconds, out_);
    }
    void cursor(const QueryCursor& cursor) noexcept {
        begin("cursor");
        out_ = write_cursor(cursor, out_);
    }
    [[nodiscard]] char* end() const noexcept { return out_; }

  private:
    void put(std::string_view text) noexcept { out_ = std::copy(text.begin(), text.end(), out_); }
    void begin(std::string_view name) noexcept {
        *out_++ = any_ ? '&' : '?';
        any_ = true;
        put(name);
        *out_++ = '=';
    }

    char* out_;
    bool any_ = false;
};

}  // namespace

QueryVerdict parse_query(std::string_view target, Query* out, QueryError* error,
                         QueryFormat preferred) noexcept {
    *out = Query();
    const size_t mark = target.find('?');
    const QueryVerdict path = read_path(target.substr(0, mark), out, error);
    if (path != QueryVerdict::kGood) {
        return path;
    }
    out->limit = 0;  // none given
    Reading reading{out, preferred};
    if (out->device_id.given()) {
        reading.seen = 1;  // the first of kParameters
    }
    std::string_view args = mark == std::string_view::npos ? "" : target.substr(mark + 1);
    while (!args.empty()) {
        const size_t end = args.find('&');
        const std::string_view pair = args.substr(0, end);
        if (!pair.empty() && !read_pair(pair, &reading, error)) {
            return QueryVerdict::kBad;
        }
        args = end == std::string_view::npos ? std::string_view() : args.substr(end + 1);
    }
    return settle(reading, error) ? QueryVerdict::kGood : QueryVerdict::kBad;
}

char* write_query(const Query& query, char* out) noexcept {
    TargetWriter writer(out);
    writer.path(kPaths[static_cast<unsigned>(query.kind)].path);
    if (query.device_id.given()) {
        writer.text("device_id", query.device_id.view());
    }
    if (query.levels != 0) {
        writer.levels(query.levels);
    }
    if (query.from.given()) {
        writer.time("from", query.from);
    }
    if (query.to.given()) {
        writer.time("to", query.to);
    }
    if (query.text.given()) {
        writer.text("q", query.text.view());
    }
    if (query.contains.given()) {
        writer.text("contains", query.contains.view());
    }
    if (query.ascending) {
        writer.text("order", "asc");
    }
    if (query.format != QueryFormat::kPage) {
        writer.text("format", kFormats[static_cast<size_t>(query.format)]);
    }
    if (query.limit != (query.format == QueryFormat::kPage ? kQueryLimitDefault : 0)) {
        writer.number("limit", query.limit);
    }
    if (query.offset != 0) {
        writer.number("offset", query.offset);
    }
    if (query.step_s != 0) {
        writer.step(query.step_s);
    }
    if (query.has_cursor) {
        writer.cursor(query.cursor);
    }
    return writer.end();
}

}  // namespace sluice

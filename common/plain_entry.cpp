#include "common/plain_entry.hpp"

#include <simdjson.h>

#include "common/copy_text.hpp"
#include "common/json_scalars.hpp"
#include "common/json_walk.hpp"
#include "common/timestamp.hpp"

namespace sluice {
namespace {

constexpr std::string_view kFieldNames[] = {"device_id", "log_level", "message", "log_data",
                                            "created_at"};
constexpr size_t kFieldCount = sizeof(kFieldNames) / sizeof(kFieldNames[0]);
// A NUL becomes U+FFFD.
constexpr size_t kRowFactor = 3;
static_assert(kRowFactor >= kCopyFactor, "room for log_data");

// Which of the known fields this is, in the order of RecordField; kNone if it is another.
RecordField known_field(std::string_view name) {
    for (size_t i = 0; i < kFieldCount; i++) {
        if (name == kFieldNames[i]) {
            return static_cast<RecordField>(i + 1);
        }
    }
    return RecordField::kNone;
}

char* append(std::string_view text, char* out) {
    return out + text.copy(out, text.size());
}

// One entry on its way into a row.
class EntryParse {
  public:
    EntryParse(JsonIndex* index, PlainEntry* out) noexcept : index_(*index), out_(*out) {}

    void find(const EntryField* fields, size_t count) noexcept;
    char* write_row(char* out) noexcept;

  private:
    void refuse(RecordField field, Refusal refusal) noexcept;
    [[nodiscard]] std::string_view value(RecordField field) const noexcept {
        return values_[static_cast<unsigned>(field)];
    }
    void check_text(RecordField field) noexcept;
    void check_device_id() noexcept;
    char* write_text(std::string_view text, char* out) noexcept;
    char* write_level(char* out) noexcept;
    char* write_log_data(char* out) noexcept;
    char* write_event_time(char* out) const noexcept;

    JsonIndex& index_;
    PlainEntry& out_;
    std::string_view values_[kFieldCount + 1];  // by RecordField
    bool given_[kFieldCount + 1] = {};
};

// The first of several reasons counts.
void EntryParse::refuse(RecordField field, Refusal refusal) noexcept {
    if (out_.refusal == Refusal::kNone) {
        out_ = {refusal, field};
    }
}

void EntryParse::find(const EntryField* fields, size_t count) noexcept {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const RecordField field = known_field(fields[i].name);
        if (field == RecordField::kNone) {
            continue;
        }
        const auto known = static_cast<unsigned>(field);
        if (given_[known]) {
            refuse(field, Refusal::kDuplicateKey);
        }
        given_[known] = true;
        values_[known] = fields[i].value;
        bytes += fields[i].value.size();
    }
    if (bytes > kRecordBytes) {
        refuse(RecordField::kNone, Refusal::kRecordTooLarge);
    }
}

void EntryParse::check_text(RecordField field) noexcept {
    const std::string_view text = value(field);
    if (!given_[static_cast<unsigned>(field)]) {
        refuse(field, Refusal::kMissing);
    } else if (text.empty()) {
        refuse(field, Refusal::kEmpty);
    } else if (!simdjson::validate_utf8(text.data(), text.size())) {
        refuse(field, Refusal::kInvalidUtf8);
    }
}

void EntryParse::check_device_id() noexcept {
    check_text(RecordField::kDeviceId);
    const std::string_view text = value(RecordField::kDeviceId);
    if (text.size() > kDeviceIdBytesMax) {
        refuse(RecordField::kDeviceId, Refusal::kTooLong);
    } else if (has_control_character(text)) {
        refuse(RecordField::kDeviceId, Refusal::kControlCharacter);
    }
}

char* EntryParse::write_row(char* out) noexcept {
    check_device_id();
    out = write_text(value(RecordField::kDeviceId), out);
    *out++ = '\t';
    out = write_level(out);
    *out++ = '\t';
    check_text(RecordField::kMessage);
    out = write_text(value(RecordField::kMessage), out);
    *out++ = '\t';
    out = write_log_data(out);
    *out++ = '\t';
    out = write_event_time(out);
    *out++ = '\n';
    return out;
}

char* EntryParse::write_text(std::string_view text, char* out) noexcept {
    for (const char c : text) {
        out = c == '\0' ? append(kReplacement, out) : copy_escape_char(c, out);
    }
    return out;
}

char* EntryParse::write_level(char* out) noexcept {
    check_text(RecordField::kLogLevel);
    Level level = Level::kDebug;
    if (!parse_level(value(RecordField::kLogLevel), &level)) {
        refuse(RecordField::kLogLevel, Refusal::kUnknownLevel);
    }
    return append(kLevelNames[static_cast<unsigned>(level)], out);
}

char* EntryParse::write_log_data(char* out) noexcept {
    constexpr RecordField field = RecordField::kLogData;
    const std::string_view text = value(field);
    if (text.empty()) {
        return append("{}", out);
    }
    const Refusal built = index_.build(text.data(), text.size());
    if (built != Refusal::kNone) {
        refuse(field, built);
        return out;
    }
    JsonWalk walk(text, index_);
    const char* const begin = walk.here();
    const Refusal walked = walk.skip_value();
    if (walked != Refusal::kNone || !walk.at_end()) {
        refuse(field, walked != Refusal::kNone ? walked : Refusal::kMalformedJson);
        return out;
    }
    if (*begin == 'n') {
        return append("{}", out);  // null is as if it were not there
    }
    if (*begin != '{') {
        refuse(field, Refusal::kWrongType);
        return out;
    }
    uint32_t nuls = 0;
    const auto bytes = static_cast<size_t>(walk.value_end() - begin);
    const CopiedText copied = copy_value(std::string_view(begin, bytes), out, &nuls);
    if (copied.refusal != Refusal::kNone) {
        refuse(field, copied.refusal);
    }
    return copied.end;
}

char* EntryParse::write_event_time(char* out) const noexcept {
    const std::string_view text = value(RecordField::kTimestamp);
    char in_utc[2 * kTimestampBytes];
    int64_t epoch_us = 0;
    bool good = parse_rfc3339(text, &epoch_us) || parse_epoch(text, &epoch_us);
    if (!good && text.size() < sizeof(in_utc)) {
        char* const end = append(text, in_utc);
        *end = 'Z';
        good = parse_rfc3339(std::string_view(in_utc, text.size() + 1), &epoch_us);
    }
    return good ? format_timestamp(epoch_us, out) : append(kCopyNull, out);
}

}  // namespace

size_t PlainEntries::row_bytes_max(const EntryField* fields, size_t count) noexcept {
    // Levels, times and defaults are written anew, and the tabs between.
    size_t bytes = kTimestampBytes + 64 + kCopySlack;
    for (size_t i = 0; i < count; i++) {
        if (known_field(fields[i].name) != RecordField::kNone) {
            bytes += kRowFactor * fields[i].value.size();
        }
    }
    return bytes;
}

char* PlainEntries::write_row(const EntryField* fields, size_t count, char* row,
                              PlainEntry* out) noexcept {
    EntryParse parse(&index_, out);
    parse.find(fields, count);
    return out->refusal == Refusal::kNone ? parse.write_row(row) : row;
}

}  // namespace sluice

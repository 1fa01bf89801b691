#include "common/json_record.hpp"

#include <cstring>

#include "common/copy_text.hpp"
#include "common/timestamp.hpp"

namespace sluice {
namespace {

// How far a device_id and the bytes that copy_plain reads behind it can reach.
constexpr ptrdiff_t kPlainRoom = kDeviceIdBytesMax + 2 + kCopySlack;

bool is_string(std::string_view value) {
    return value.front() == '"';
}
bool is_null(std::string_view value) {
    return value.front() == 'n';
}
std::string_view inside_quotes(std::string_view value) {
    return value.substr(1, value.size() - 2);
}

}  // namespace

RecordField RecordParse::known_field(std::string_view key) noexcept {
    switch (key.size()) {
        case 7:
            return key == "message" ? RecordField::kMessage : RecordField::kNone;
        case 8:
            return key == "log_data" ? RecordField::kLogData : RecordField::kNone;
        case 9:
            return key == "device_id"   ? RecordField::kDeviceId
                   : key == "log_level" ? RecordField::kLogLevel
                   : key == "timestamp" ? RecordField::kTimestamp
                                        : RecordField::kNone;
        default:
            return RecordField::kNone;
    }
}

char* RecordParse::parse(char* row) noexcept {
    reader_.begin_record();
    const char* const begin = reader_.record_at();
    if (reader_.walk.peek() != '{') {
        std::string_view value;
        if (reader_.pass_over_value(RecordField::kNone, &value)) {
            reader_.record_error(RecordField::kNone, Refusal::kRecordNotAnObject, begin);
        }
    } else {
        FoundFields found;
        const char* end = nullptr;
        if (find_fields(&found, &end)) {
            if (static_cast<size_t>(end - begin) > limits_.record_bytes_max) {
                reader_.record_error(RecordField::kNone, Refusal::kRecordTooLarge, begin);
            }
            row = write_row(found, row);
        }
    }
    reader_.end_record();
    return row;
}

bool RecordParse::find_fields(FoundFields* found, const char** end) noexcept {
    reader_.walk.skip();
    if (reader_.walk.peek() != '}') {
        do {
            if (!find_field(found)) {
                return false;
            }
        } while (reader_.walk.take(','));
    }
    *end = reader_.here_or_end() + 1;
    return reader_.walk.take('}') || reader_.stop_here(Refusal::kMalformedJson);
}

bool RecordParse::find_field(FoundFields* found) noexcept {
    const char* const key_at = reader_.here_or_end();
    std::string_view key;
    if (!reader_.take_key(&key)) {
        return false;
    }
    const RecordField field = known_field(key);
    std::string_view value;
    if (!reader_.pass_over_value(field, &value)) {
        return false;
    }
    if (field == RecordField::kNone) {
        out_.unknown_fields++;
        if (limits_.unknown_fields_refused) {
            reader_.record_error(field, Refusal::kUnknownField, key_at);
        }
        return true;
    }
    if (!(*found)[field].empty()) {
        reader_.record_error(field, Refusal::kDuplicateKey, key_at);
    }
    (*found)[field] = value;
    return true;
}

char* RecordParse::write_row(FoundFields& found, char* out) noexcept {
    out = write_device_id(found[RecordField::kDeviceId], out);
    *out++ = '\t';
    out = write_level(found[RecordField::kLogLevel], out);
    *out++ = '\t';
    out = write_message(found[RecordField::kMessage], out);
    *out++ = '\t';
    out = write_log_data(found[RecordField::kLogData], out);
    *out++ = '\t';
    out = write_event_time(found[RecordField::kTimestamp], out);
    *out++ = '\n';
    return out;
}

// A required string, decoded to out. False if it is not there or not a string with good escapes.
bool RecordParse::copy_required(RecordField field, std::string_view value, char* out,
                                CopiedText* text) noexcept {
    text->end = out;
    if (value.empty()) {
        reader_.record_error(field, Refusal::kMissing, reader_.record_at());
        return false;
    }
    if (!is_string(value)) {
        reader_.record_error(field, Refusal::kWrongType, value.data());
        return false;
    }
    *text = copy_string(inside_quotes(value), out, &out_.nuls_replaced);
    if (text->refusal != Refusal::kNone) {
        reader_.escape_error(field, text->refusal, text->failed);
        return false;
    }
    if (text->bytes == 0) {
        reader_.record_error(field, Refusal::kEmpty, value.data());
        return false;
    }
    return true;
}

char* RecordParse::write_device_id(std::string_view value, char* out) noexcept {
    constexpr RecordField field = RecordField::kDeviceId;
    // Nearly all are short and plain.
    if (value.size() > 2 && value.size() <= kDeviceIdBytesMax + 2 && is_string(value) &&
        reader_.walk.body_end() - value.data() >= kPlainRoom &&
        copy_plain(inside_quotes(value), out)) {
        return out + value.size() - 2;
    }
    CopiedText text;
    if (!copy_required(field, value, out, &text)) {
        return out;
    }
    if (text.bytes > kDeviceIdBytesMax) {
        reader_.record_error(field, Refusal::kTooLong, value.data());
    } else if (text.control || has_control_character(inside_quotes(value))) {
        reader_.record_error(field, Refusal::kControlCharacter, value.data());
    }
    return text.end;
}

char* RecordParse::write_level(std::string_view value, char* out) noexcept {
    constexpr RecordField field = RecordField::kLogLevel;
    if (value.size() <= 2 || !is_string(value) || !parse_level(inside_quotes(value), &level_)) {
        CopiedText text;
        if (!copy_required(field, value, out, &text)) {
            return out;
        }
        // Its letters may have been escaped.
        if (!parse_level(std::string_view(out, static_cast<size_t>(text.end - out)), &level_)) {
            reader_.record_error(field, Refusal::kUnknownLevel, value.data());
            return out;
        }
    }
    const std::string_view name = kLevelNames[static_cast<unsigned>(level_)];
    std::memcpy(out, name.data(), name.size());
    return out + name.size();
}

char* RecordParse::write_message(std::string_view value, char* out) noexcept {
    CopiedText text;
    (void)copy_required(RecordField::kMessage, value, out, &text);
    return text.end;
}

char* RecordParse::write_log_data(std::string_view value, char* out) noexcept {
    constexpr RecordField field = RecordField::kLogData;
    if (value.empty() || is_null(value)) {
        *out++ = '{';
        *out++ = '}';
        return out;
    }
    if (value.front() != '{') {
        reader_.record_error(field, Refusal::kWrongType, value.data());
    }
    const CopiedText text = copy_value(value, out, &out_.nuls_replaced);
    if (text.refusal != Refusal::kNone) {
        reader_.escape_error(field, text.refusal, text.failed);
    }
    return text.end;
}

char* RecordParse::write_event_time(std::string_view value, char* out) noexcept {
    constexpr RecordField field = RecordField::kTimestamp;
    if (value.empty() || is_null(value)) {
        std::memcpy(out, kCopyNull.data(), kCopyNull.size());
        return out + kCopyNull.size();
    }
    int64_t epoch_us = 0;
    bool good = false;
    if (is_string(value)) {
        CopiedText copied;
        if (!copy_required(field, value, out, &copied)) {
            return out;
        }
        // A string may hold an epoch too: some clients quote 64-bit numbers.
        const std::string_view text(out, static_cast<size_t>(copied.end - out));
        good = parse_rfc3339(text, &epoch_us) || parse_epoch(text, &epoch_us);
    } else if (value.front() == '-' || (value.front() >= '0' && value.front() <= '9')) {
        good = parse_epoch(value, &epoch_us);
    } else {
        reader_.record_error(field, Refusal::kWrongType, value.data());
        return out;
    }
    if (!good) {
        reader_.record_error(field, Refusal::kBadTimestamp, value.data());
        return out;
    }
    return format_timestamp(epoch_us, out);
}

}  // namespace sluice

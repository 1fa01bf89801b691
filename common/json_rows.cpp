#include "common/json_rows.hpp"

#include <cstring>

#include "common/copy_text.hpp"
#include "common/json_scalars.hpp"
#include "common/json_walk.hpp"
#include "common/timestamp.hpp"

namespace sluice {
namespace {

// The values of one record, as they stand in the body. Columns have a fixed order and keys have
// not, so a record is gone over first and written after.
struct FoundFields {
    static constexpr unsigned kCount = 6;
    std::string_view value[kCount];  // by RecordField; empty = not given

    std::string_view& operator[](RecordField field) noexcept {
        return value[static_cast<unsigned>(field)];
    }
};

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

RecordField known_field(std::string_view key) {
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

// One body on its way into rows.
class BodyParse {
  public:
    BodyParse(std::string_view body, const JsonIndex& index, const BodyLimits& limits, char* rows,
              BodyRows* out) noexcept
        : walk_(body, index), body_(body), limits_(limits), rows_(rows), row_(rows), out_(*out) {}

    char* run(BodyShape shape) noexcept;

  private:
    [[nodiscard]] bool stop(Refusal refusal, const char* at) noexcept;
    [[nodiscard]] bool stop_here(Refusal refusal) noexcept;
    [[nodiscard]] bool stop_in_record(RecordField field, Refusal refusal, const char* at) noexcept;
    [[nodiscard]] const char* here_or_end() const noexcept {
        return walk_.at_end() ? walk_.body_end() : walk_.here();
    }
    void record_error(RecordField field, Refusal refusal, const char* at) noexcept;
    void escape_error(RecordField field, Refusal refusal, const char* at) noexcept;

    [[nodiscard]] bool parse_envelope() noexcept;
    [[nodiscard]] bool parse_records() noexcept;
    [[nodiscard]] bool parse_record() noexcept;
    [[nodiscard]] bool find_field(FoundFields* found) noexcept;
    [[nodiscard]] bool find_fields(FoundFields* found, const char** end) noexcept;
    [[nodiscard]] bool take_key(std::string_view* key) noexcept;
    [[nodiscard]] bool pass_over_value(RecordField field, std::string_view* value) noexcept;

    [[nodiscard]] bool copy_required(RecordField field, std::string_view value, char* out,
                                     CopiedText* text) noexcept;
    char* write_row(FoundFields& found, char* out) noexcept;
    char* write_device_id(std::string_view value, char* out) noexcept;
    char* write_level(std::string_view value, char* out) noexcept;
    char* write_message(std::string_view value, char* out) noexcept;
    char* write_log_data(std::string_view value, char* out) noexcept;
    char* write_event_time(std::string_view value, char* out) noexcept;

    JsonWalk walk_;
    std::string_view body_;
    const BodyLimits& limits_;
    char* rows_;
    char* row_;  // where the next row goes
    BodyRows& out_;
    bool in_record_ = false;
    bool record_is_bad_ = false;
    const char* record_begin_ = nullptr;
    char key_[16];  // room for a key that had to be decoded
};

bool BodyParse::stop(Refusal refusal, const char* at) noexcept {
    out_.refusal = refusal;
    out_.offset = static_cast<uint32_t>(at - body_.data());
    return false;
}

bool BodyParse::stop_here(Refusal refusal) noexcept {
    return stop(refusal, here_or_end());
}

// The walk ends here, but which record and field it was can still be told.
bool BodyParse::stop_in_record(RecordField field, Refusal refusal, const char* at) noexcept {
    if (in_record_ && refusal != Refusal::kMalformedJson) {
        record_error(field, refusal, at);
    }
    return stop(refusal, at);
}

void BodyParse::record_error(RecordField field, Refusal refusal, const char* at) noexcept {
    if (!record_is_bad_) {
        record_is_bad_ = true;
        out_.bad_records++;
    }
    if (out_.errors_kept < BodyRows::kErrorsKept) {
        out_.errors[out_.errors_kept++] = {out_.records, field, refusal,
                                           static_cast<uint32_t>(at - body_.data())};
    }
}

// A broken escape breaks the JSON of the whole body; half a surrogate only breaks the record.
void BodyParse::escape_error(RecordField field, Refusal refusal, const char* at) noexcept {
    if (refusal == Refusal::kMalformedJson) {
        (void)stop(refusal, at);
    } else {
        record_error(field, refusal, at);
    }
}

char* BodyParse::run(BodyShape shape) noexcept {
    const bool whole = shape == BodyShape::kRecord ? parse_record() : parse_envelope();
    if (whole && !walk_.at_end()) {
        (void)stop_here(Refusal::kMalformedJson);
    }
    if (out_.refusal == Refusal::kNone && out_.bad_records > 0) {
        out_.refusal = out_.errors[0].refusal;
        out_.offset = out_.errors[0].offset;
    }
    return out_.refusal == Refusal::kNone ? row_ : rows_;
}

bool BodyParse::parse_envelope() noexcept {
    if (walk_.peek() != '{') {
        const Refusal refusal = walk_.skip_value();
        if (refusal != Refusal::kNone) {
            return stop_here(refusal);
        }
        return walk_.at_end() ? stop(Refusal::kNotAnObject, body_.data())
                              : stop_here(Refusal::kMalformedJson);
    }
    walk_.skip();
    bool logs_seen = false;
    if (!walk_.take('}')) {
        do {
            std::string_view key;
            if (!take_key(&key)) {
                return false;
            }
            if (key == "logs") {
                if (logs_seen) {
                    return stop_here(Refusal::kDuplicateKey);
                }
                logs_seen = true;
                if (!parse_records()) {
                    return false;
                }
                continue;
            }
            out_.unknown_fields++;
            std::string_view value;
            if (!pass_over_value(RecordField::kNone, &value)) {
                return false;
            }
        } while (walk_.take(','));
        if (!walk_.take('}')) {
            return stop_here(Refusal::kMalformedJson);
        }
    }
    if (!logs_seen && walk_.at_end()) {
        return stop(Refusal::kLogsMissing, body_.data());
    }
    return true;
}

bool BodyParse::parse_records() noexcept {
    if (walk_.peek() != '[') {
        return stop_here(walk_.at_end() ? Refusal::kMalformedJson : Refusal::kLogsNotAnArray);
    }
    walk_.skip();
    if (walk_.peek() == ']') {
        return stop_here(Refusal::kEmptyBatch);
    }
    do {
        if (out_.records == limits_.records_max) {
            return stop_here(Refusal::kTooManyRecords);
        }
        if (!parse_record()) {
            return false;
        }
    } while (walk_.take(','));
    return walk_.take(']') || stop_here(Refusal::kMalformedJson);
}

bool BodyParse::parse_record() noexcept {
    record_is_bad_ = false;
    in_record_ = true;
    const char* const begin = here_or_end();
    record_begin_ = begin;
    if (walk_.peek() != '{') {
        const Refusal refusal = walk_.skip_value();
        if (refusal == Refusal::kMalformedJson) {
            return stop_here(refusal);
        }
        if (refusal != Refusal::kNone) {
            return stop_in_record(RecordField::kNone, refusal, begin);
        }
        record_error(RecordField::kNone, Refusal::kRecordNotAnObject, begin);
        out_.records++;
        in_record_ = false;
        return true;
    }
    FoundFields found;
    const char* end = nullptr;
    if (!find_fields(&found, &end)) {
        return false;
    }
    if (static_cast<size_t>(end - begin) > limits_.record_bytes_max) {
        record_error(RecordField::kNone, Refusal::kRecordTooLarge, begin);
    }
    // Once a record was bad nothing is stored, and the later ones are written only to be checked.
    char* const row = out_.bad_records > 0 ? rows_ : row_;
    row_ = write_row(found, row);
    out_.records++;
    in_record_ = false;
    return out_.refusal == Refusal::kNone;
}

bool BodyParse::find_fields(FoundFields* found, const char** end) noexcept {
    walk_.skip();
    if (walk_.peek() != '}') {
        do {
            if (!find_field(found)) {
                return false;
            }
        } while (walk_.take(','));
    }
    *end = here_or_end() + 1;
    return walk_.take('}') || stop_here(Refusal::kMalformedJson);
}

bool BodyParse::find_field(FoundFields* found) noexcept {
    const char* const key_at = here_or_end();
    std::string_view key;
    if (!take_key(&key)) {
        return false;
    }
    const RecordField field = known_field(key);
    std::string_view value;
    if (!pass_over_value(field, &value)) {
        return false;
    }
    if (field == RecordField::kNone) {
        out_.unknown_fields++;
        if (limits_.unknown_fields_refused) {
            record_error(field, Refusal::kUnknownField, key_at);
        }
        return true;
    }
    if (!(*found)[field].empty()) {
        record_error(field, Refusal::kDuplicateKey, key_at);
    }
    (*found)[field] = value;
    return true;
}

// A key and its colon. A key with escapes is decoded: it may still be one of the known ones.
bool BodyParse::take_key(std::string_view* key) noexcept {
    if (walk_.peek() != '"') {
        return stop_here(Refusal::kMalformedJson);
    }
    *key = walk_.string_inside();
    if (std::memchr(key->data(), '\\', key->size()) != nullptr) {
        const char* failed = nullptr;
        const Refusal refusal = check_escapes(*key, &failed);
        if (refusal != Refusal::kNone) {
            return stop_in_record(RecordField::kNone, refusal, failed);
        }
        // The longest known key has 9 bytes, each at most \u00XX: what is longer is unknown.
        char decoded[2 * 9 * 6 + kCopySlack];
        uint32_t nuls = 0;
        if (key->size() <= 9 * 6) {
            const CopiedText text = copy_string(*key, decoded, &nuls);
            const auto bytes = static_cast<size_t>(text.end - decoded);
            if (bytes <= sizeof(key_)) {
                std::memcpy(key_, decoded, bytes);
                *key = std::string_view(key_, bytes);
            }
        }
    }
    walk_.skip();
    return walk_.take(':') || stop_here(Refusal::kMalformedJson);
}

// The grammar of a value; the escapes of a value that will not be stored are checked here too.
bool BodyParse::pass_over_value(RecordField field, std::string_view* value) noexcept {
    const char* const begin = here_or_end();
    Refusal refusal = walk_.skip_value();
    const char* failed = here_or_end();
    if (refusal == Refusal::kNone) {
        *value = std::string_view(begin, static_cast<size_t>(walk_.value_end() - begin));
        if (field == RecordField::kNone) {
            refusal = check_escapes(*value, &failed);
        }
    }
    return refusal == Refusal::kNone || stop_in_record(field, refusal, failed);
}

char* BodyParse::write_row(FoundFields& found, char* out) noexcept {
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
bool BodyParse::copy_required(RecordField field, std::string_view value, char* out,
                              CopiedText* text) noexcept {
    text->end = out;
    if (value.empty()) {
        record_error(field, Refusal::kMissing, record_begin_);
        return false;
    }
    if (!is_string(value)) {
        record_error(field, Refusal::kWrongType, value.data());
        return false;
    }
    *text = copy_string(inside_quotes(value), out, &out_.nuls_replaced);
    if (text->refusal != Refusal::kNone) {
        escape_error(field, text->refusal, text->failed);
        return false;
    }
    if (text->bytes == 0) {
        record_error(field, Refusal::kEmpty, value.data());
        return false;
    }
    return true;
}

char* BodyParse::write_device_id(std::string_view value, char* out) noexcept {
    constexpr RecordField field = RecordField::kDeviceId;
    // Nearly all are short and plain.
    if (value.size() > 2 && value.size() <= kDeviceIdBytesMax + 2 && is_string(value) &&
        walk_.body_end() - value.data() >= kPlainRoom && copy_plain(inside_quotes(value), out)) {
        return out + value.size() - 2;
    }
    CopiedText text;
    if (!copy_required(field, value, out, &text)) {
        return out;
    }
    if (text.bytes > kDeviceIdBytesMax) {
        record_error(field, Refusal::kTooLong, value.data());
    } else if (text.control || has_control_character(inside_quotes(value))) {
        record_error(field, Refusal::kControlCharacter, value.data());
    }
    return text.end;
}

char* BodyParse::write_level(std::string_view value, char* out) noexcept {
    constexpr RecordField field = RecordField::kLogLevel;
    Level level = Level::kDebug;
    if (value.size() <= 2 || !is_string(value) || !parse_level(inside_quotes(value), &level)) {
        CopiedText text;
        if (!copy_required(field, value, out, &text)) {
            return out;
        }
        // Its letters may have been escaped.
        if (!parse_level(std::string_view(out, static_cast<size_t>(text.end - out)), &level)) {
            record_error(field, Refusal::kUnknownLevel, value.data());
            return out;
        }
    }
    if (static_cast<uint8_t>(level) > out_.highest_level) {
        out_.highest_level = static_cast<uint8_t>(level);
    }
    const std::string_view name = kLevelNames[static_cast<unsigned>(level)];
    std::memcpy(out, name.data(), name.size());
    return out + name.size();
}

char* BodyParse::write_message(std::string_view value, char* out) noexcept {
    CopiedText text;
    (void)copy_required(RecordField::kMessage, value, out, &text);
    return text.end;
}

char* BodyParse::write_log_data(std::string_view value, char* out) noexcept {
    constexpr RecordField field = RecordField::kLogData;
    if (value.empty() || is_null(value)) {
        *out++ = '{';
        *out++ = '}';
        return out;
    }
    if (value.front() != '{') {
        record_error(field, Refusal::kWrongType, value.data());
    }
    const CopiedText text = copy_value(value, out, &out_.nuls_replaced);
    if (text.refusal != Refusal::kNone) {
        escape_error(field, text.refusal, text.failed);
    }
    return text.end;
}

char* BodyParse::write_event_time(std::string_view value, char* out) noexcept {
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
        record_error(field, Refusal::kWrongType, value.data());
        return out;
    }
    if (!good) {
        record_error(field, Refusal::kBadTimestamp, value.data());
        return out;
    }
    return format_timestamp(epoch_us, out);
}

}  // namespace

char* JsonRows::parse(BodyShape shape, std::string_view body, const BodyLimits& limits, char* rows,
                      BodyRows* out) noexcept {
    *out = BodyRows();
    out->refusal = index_.build(body.data(), body.size());
    if (out->refusal != Refusal::kNone) {
        return rows;
    }
    return BodyParse(body, index_, limits, rows, out).run(shape);
}

}  // namespace sluice

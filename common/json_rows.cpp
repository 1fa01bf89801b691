#include "common/json_rows.hpp"

#include <algorithm>

#include "common/json_break.hpp"
#include "common/json_reader.hpp"
#include "common/json_record.hpp"

namespace sluice {
namespace {

// One body on its way into rows.
class BodyParse {
  public:
    BodyParse(std::string_view body, const JsonIndex& index, const BodyLimits& limits, char* rows,
              BodyRows* out) noexcept
        : reader_(body, index, out),
          record_(&reader_, limits, out),
          body_(body),
          limits_(limits),
          rows_(rows),
          row_(rows),
          out_(*out) {}

    char* run(BodyShape shape) noexcept;

  private:
    [[nodiscard]] bool parse_shape(BodyShape shape) noexcept;
    [[nodiscard]] bool parse_batch() noexcept;
    [[nodiscard]] bool is_envelope() noexcept;
    [[nodiscard]] bool first_object_is_envelope() noexcept;
    [[nodiscard]] bool parse_envelope() noexcept;
    [[nodiscard]] bool parse_array() noexcept;
    [[nodiscard]] bool parse_sequence() noexcept;
    [[nodiscard]] bool parse_one_of_many() noexcept;
    [[nodiscard]] bool parse_record() noexcept;
    [[nodiscard]] bool is_admitted(uint32_t index, const char* row, const char* end) noexcept;

    JsonReader reader_;
    RecordParse record_;
    std::string_view body_;
    const BodyLimits& limits_;
    char* rows_;
    char* row_;  // where the next row goes
    BodyRows& out_;
};

char* BodyParse::run(BodyShape shape) noexcept {
    if (parse_shape(shape) && !reader_.walk.at_end()) {
        reader_.stop_here(Refusal::kMalformedJson);
    }
    if (!reader_.stopped() && out_.bad_records > 0 &&
        (!limits_.partial || out_.rows + out_.withheld == 0)) {
        out_.refusal = out_.errors[0].refusal;
        out_.offset = out_.errors[0].offset;
    }
    return reader_.stopped() ? rows_ : row_;
}

bool BodyParse::parse_shape(BodyShape shape) noexcept {
    switch (shape) {
        case BodyShape::kRecord:
            return parse_record();
        case BodyShape::kBatch:
            return parse_batch();
        case BodyShape::kRecords:
            return parse_sequence();
    }
    return false;
}

bool BodyParse::parse_batch() noexcept {
    if (reader_.walk.peek() == '[') {
        return parse_array();
    }
    if (reader_.walk.peek() == '{') {
        return is_envelope() ? parse_envelope() : parse_sequence();
    }
    std::string_view value;
    if (!reader_.pass_over_value(RecordField::kNone, &value)) {
        return false;
    }
    return reader_.stop(Refusal::kNotABatch, value.data());
}

// Whether the first object is no record: it has the key "logs", or at least none of a record's and
// nothing behind it. Mostly its first key tells.
bool BodyParse::is_envelope() noexcept {
    const JsonWalk begin = reader_.walk;
    const bool is_one = first_object_is_envelope();
    // What is wrong is found again, and then told.
    out_.refusal = Refusal::kNone;
    out_.offset = 0;
    reader_.walk = begin;
    return is_one;
}

bool BodyParse::first_object_is_envelope() noexcept {
    reader_.walk.skip();
    if (reader_.walk.peek() != '}') {
        do {
            std::string_view key;
            if (!reader_.take_key(&key)) {
                return out_.refusal == Refusal::kMalformedJson;  // else it is a record's bad key
            }
            if (key == "logs" || reader_.walk.at_end()) {
                return true;
            }
            if (RecordParse::known_field(key) != RecordField::kNone) {
                return false;
            }
            reader_.walk.skip_by_brackets();  // a bad value is no reason to look no further
        } while (reader_.walk.take(','));
    }
    return !reader_.walk.take('}') || reader_.walk.peek() != '{';
}

bool BodyParse::parse_envelope() noexcept {
    reader_.walk.skip();
    bool logs_seen = false;
    if (!reader_.walk.take('}')) {
        do {
            std::string_view key;
            if (!reader_.take_key(&key)) {
                return false;
            }
            if (key == "logs") {
                if (logs_seen) {
                    return reader_.stop_here(Refusal::kDuplicateKey);
                }
                logs_seen = true;
                if (reader_.walk.peek() != '[') {
                    return reader_.stop_here(reader_.walk.at_end() ? Refusal::kMalformedJson
                                                                   : Refusal::kLogsNotAnArray);
                }
                if (!parse_array()) {
                    return false;
                }
                continue;
            }
            out_.unknown_fields++;
            std::string_view value;
            if (!reader_.pass_over_value(RecordField::kNone, &value)) {
                return false;
            }
        } while (reader_.walk.take(','));
        if (!reader_.walk.take('}')) {
            return reader_.stop_here(Refusal::kMalformedJson);
        }
    }
    if (!logs_seen && reader_.walk.at_end()) {
        return reader_.stop(Refusal::kLogsMissing, body_.data());
    }
    return true;
}

bool BodyParse::parse_array() noexcept {
    reader_.walk.skip();
    if (reader_.walk.peek() == ']') {
        return reader_.stop_here(Refusal::kEmptyBatch);
    }
    do {
        if (!parse_one_of_many()) {
            return false;
        }
    } while (reader_.walk.take(','));
    return reader_.walk.take(']') || reader_.stop_here(Refusal::kMalformedJson);
}

// One record behind the other, with white space between them or nothing at all.
bool BodyParse::parse_sequence() noexcept {
    do {
        if (!parse_one_of_many()) {
            return false;
        }
    } while (!reader_.walk.at_end());
    return true;
}

bool BodyParse::parse_one_of_many() noexcept {
    if (out_.records == limits_.records_max) {
        return reader_.stop_here(Refusal::kTooManyRecords);
    }
    return parse_record();
}

bool BodyParse::parse_record() noexcept {
    const uint32_t nuls_replaced = out_.nuls_replaced;
    const uint32_t unknown_fields = out_.unknown_fields;
    // A bad record's row is written over by the next one's; if nothing is to be stored any more,
    // all are written over the first.
    char* const row = out_.bad_records > 0 && !limits_.partial ? rows_ : row_;
    char* const end = record_.parse(row);
    if (reader_.stopped() && !reader_.pass_over_record()) {
        return false;
    }
    const uint32_t index = out_.records++;
    const bool bad = reader_.record_is_bad();
    if (bad || !is_admitted(index, row, end)) {
        out_.nuls_replaced = nuls_replaced;
        out_.unknown_fields = unknown_fields;
        out_.withheld += !bad;
        return true;
    }
    out_.highest_level = std::max(out_.highest_level, static_cast<uint8_t>(record_.level()));
    row_ = end;
    out_.rows++;
    return true;
}

bool BodyParse::is_admitted(uint32_t index, const char* row, const char* end) noexcept {
    return limits_.gate == nullptr ||
           limits_.gate->admits(index, record_.level(),
                                std::string_view(row, static_cast<size_t>(end - row)));
}

}  // namespace

char* JsonRows::parse(BodyShape shape, std::string_view body, const BodyLimits& limits, char* rows,
                      BodyRows* out) noexcept {
    *out = BodyRows();
    out->refusal = index_.build(body.data(), body.size());
    if (out->refusal == Refusal::kNone) {
        return BodyParse(body, index_, limits, rows, out).run(shape);
    }
    if (out->refusal == Refusal::kInvalidUtf8) {
        out->offset = static_cast<uint32_t>(find_bad_utf8(body));
    } else if (out->refusal == Refusal::kMalformedJson) {
        out->offset = static_cast<uint32_t>(find_break(shape, body, limits, rows));
    }
    return rows;
}

// A string that is broken may only be where it shows that a quote is missing far before. So what
// stands before it is parsed; that goes well as far as it should.
size_t JsonRows::find_break(BodyShape shape, std::string_view body, const BodyLimits& limits,
                            char* rows) noexcept {
    const BrokenString string = find_broken_string(body);
    const std::string_view before = body.substr(0, string.begin);
    if (index_.build(before.data(), before.size()) == Refusal::kNone) {
        BodyLimits ungated = limits;  // nothing of it will be stored, so there is nothing to admit
        ungated.gate = nullptr;
        BodyRows parsed;
        (void)BodyParse(before, index_, ungated, rows, &parsed).run(shape);
        if (parsed.refusal == Refusal::kMalformedJson && parsed.offset < before.size()) {
            return parsed.offset;
        }
    }
    return string.broke;
}

}  // namespace sluice

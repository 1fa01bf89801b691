// A request's JSON body becomes rows in COPY text form: parsed once, here, checked against every
// record rule, and never parsed again before Postgres.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/json_index.hpp"
#include "common/record_rules.hpp"

namespace sluice {

enum class BodyShape : uint8_t {
    kRecord,   // one record
    kRecords,  // one record behind the other, as in NDJSON
    kBatch,    // {"logs": [records]}, a bare array, or one record behind the other
};

// Asked about each good record in partial mode, before its row is kept.
class RecordGate {
  public:
    // index is the record's in the body; row is as it would be stored.
    [[nodiscard]] virtual bool admits(uint32_t index, Level level,
                                      std::string_view row) noexcept = 0;

  protected:
    ~RecordGate() = default;
};

struct BodyLimits {
    uint32_t records_max = kRecordsPerRequest;
    size_t record_bytes_max = kRecordBytes;  // of its JSON
    bool unknown_fields_refused = false;
    bool partial = false;        // good records are stored, and bad ones left out
    RecordGate* gate = nullptr;  // in partial mode: who else may leave records out
};

struct RecordError {
    uint32_t index;  // of the record in the batch
    RecordField field;
    Refusal refusal;
    uint32_t offset;  // of the byte in the body where it was seen: a value begins there
};

// What a body came to. Refused as a whole if refusal is set; else rows were written, of all records
// or, if that is wanted, of the good ones. Otherwise a body with bad records is refused, with
// refusal that of the first.
struct BodyRows {
    static constexpr uint32_t kErrorsKept = 16;

    Refusal refusal = Refusal::kNone;
    uint32_t offset = 0;       // where that is: the JSON broke, or a bad value begins
    uint32_t records = 0;      // in the body, as far as it was read
    uint32_t rows = 0;         // good records that the gate admits
    uint32_t withheld = 0;     // good records that it does not
    uint32_t bad_records = 0;  // and the first thing that was wrong with each:
    uint32_t bad_by_refusal[kRefusalCount] = {};
    uint32_t errors_kept = 0;
    RecordError errors[kErrorsKept];
    uint8_t highest_level = 0;    // a Level, of all rows
    uint32_t nuls_replaced = 0;   // \u0000 that became U+FFFD, in rows
    uint32_t unknown_fields = 0;  // ignored, in rows' records and beside "logs"

    // Refused for its records, and not for what is wrong around or behind them.
    [[nodiscard]] bool refused_for_records() const noexcept {
        return errors_kept > 0 && refusal == errors[0].refusal && offset == errors[0].offset;
    }
};

// Rows of a body never need more room than this.
[[nodiscard]] inline size_t rows_bytes_max(size_t body_bytes) noexcept {
    return 2 * body_bytes + 64;
}

class JsonRows {
  public:
    // Writes to rows (rows_bytes_max(body.size()) bytes of room) and returns the end of what was
    // written; on refusal that is rows itself.
    char* parse(BodyShape shape, std::string_view body, const BodyLimits& limits, char* rows,
                BodyRows* out) noexcept;

  private:
    [[nodiscard]] size_t find_break(BodyShape shape, std::string_view body,
                                    const BodyLimits& limits, char* rows) noexcept;

    JsonIndex index_;
};

}  // namespace sluice

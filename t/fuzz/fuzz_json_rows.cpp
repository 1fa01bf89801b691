// JSON -> row against a second opinion. What is accepted must be JSON to jansson too, as many rows
// as records, and with exactly four tabs each; what jansson accepts may be refused only by a rule.
#include <jansson.h>
#include <simdjson.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "common/json_rows.hpp"

using namespace sluice;

static void require(bool holds) {
    if (!holds) {
        abort();
    }
}

enum class Opinion { kAccepts, kRefuses, kNone };

static constexpr size_t kFlags = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL;

// Of one value, with more behind it if flags say so; *is_object if it is accepted as one.
static Opinion ask_jansson(const char* body, size_t size, size_t flags, json_error_t* error,
                           bool* is_object) {
    if (std::memchr(body, '\0', size) != nullptr) {
        return Opinion::kNone;  // it takes a NUL outside of strings for the end of its buffer
    }
    json_t* json = json_loadb(body, size, flags, error);
    if (json != nullptr) {
        *is_object = json_is_object(json);
        json_decref(json);
        return Opinion::kAccepts;
    }
    switch (json_error_code(error)) {
        case json_error_numeric_overflow:  // of a double; our rows keep the text of numbers
        case json_error_null_byte_in_key:  // it has no place for one, our rows replace it
            return Opinion::kNone;
        default:
            return Opinion::kRefuses;
    }
}

static Opinion ask_of_one(const char* body, size_t size) {
    json_error_t error;
    bool is_object = false;
    return ask_jansson(body, size, kFlags, &error, &is_object);
}

// Of objects one by one. About scalars among them it has nothing to say: where one ends that is
// followed by another without white space is nobody's rule.
static Opinion ask_of_many(const char* body, size_t size) {
    while (size > 0) {
        if (std::memchr(" \t\r\n", *body, 4) != nullptr) {
            body++;
            size--;
            continue;
        }
        json_error_t error;
        bool is_object = false;
        const Opinion opinion =
            ask_jansson(body, size, kFlags | JSON_DISABLE_EOF_CHECK, &error, &is_object);
        if (opinion != Opinion::kAccepts) {
            return opinion;
        }
        if (!is_object) {
            return Opinion::kNone;
        }
        body += error.position;
        size -= static_cast<size_t>(error.position);
    }
    return Opinion::kAccepts;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static JsonRows json;
    if (size == 0) {
        return 0;
    }
    static constexpr BodyShape kShapes[] = {BodyShape::kRecord, BodyShape::kBatch,
                                            BodyShape::kRecords};
    const BodyShape shape = kShapes[(data[0] & 0x7f) % 3];
    BodyLimits limits;
    limits.partial = (data[0] & 0x80) != 0;
    const char* const body = reinterpret_cast<const char*>(data) + 1;
    size--;
    const std::unique_ptr<char[]> rows(new char[rows_bytes_max(size)]);
    BodyRows out;
    const char* end = json.parse(shape, {body, size}, limits, rows.get(), &out);

    require(end >= rows.get() && end <= rows.get() + rows_bytes_max(size));
    require(out.offset <= size && out.errors_kept <= BodyRows::kErrorsKept);
    if (out.refusal != Refusal::kNone) {
        require(end == rows.get());
        require(out.refusal != Refusal::kInvalidUtf8 ||
                (out.offset < size && simdjson::validate_utf8(body, out.offset)));
        if (out.refusal == Refusal::kMalformedJson || out.refusal == Refusal::kInvalidUtf8) {
            require((shape == BodyShape::kRecords ? ask_of_many(body, size)
                                                  : ask_of_one(body, size)) != Opinion::kAccepts);
        }
        return 0;
    }
    if (out.bad_records == 0) {  // one that is left out is not read to its end
        require((shape != BodyShape::kRecords && ask_of_one(body, size) != Opinion::kRefuses) ||
                (shape != BodyShape::kRecord && ask_of_many(body, size) != Opinion::kRefuses));
    }
    require(out.records == out.rows + out.bad_records && (limits.partial || out.bad_records == 0));
    uint32_t lines = 0, tabs = 0;
    for (const char* p = rows.get(); p < end; p++) {
        require(*p != '\0');
        tabs += *p == '\t' ? 1 : 0;
        lines += *p == '\n' ? 1 : 0;
        p += *p == '\\' ? 1 : 0;
    }
    require(lines == out.rows && lines > 0 && tabs == 4 * lines && end[-1] == '\n');
    return 0;
}

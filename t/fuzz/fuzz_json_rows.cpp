// JSON -> row against a second opinion. What is accepted must be JSON to jansson too, as many rows
// as records, and with exactly four tabs each; what jansson accepts may be refused only by a rule.
#include <jansson.h>

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

static Opinion ask_jansson(const char* body, size_t size) {
    if (std::memchr(body, '\0', size) != nullptr) {
        return Opinion::kNone;  // it takes a NUL outside of strings for the end of its buffer
    }
    json_error_t error;
    json_t* json =
        json_loadb(body, size, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    if (json != nullptr) {
        json_decref(json);
        return Opinion::kAccepts;
    }
    switch (json_error_code(&error)) {
        case json_error_numeric_overflow:  // of a double; our rows keep the text of numbers
        case json_error_null_byte_in_key:  // it has no place for one, our rows replace it
            return Opinion::kNone;
        default:
            return Opinion::kRefuses;
    }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static JsonRows json;
    if (size == 0) {
        return 0;
    }
    const BodyShape shape = (data[0] & 1) != 0 ? BodyShape::kBatch : BodyShape::kRecord;
    const char* const body = reinterpret_cast<const char*>(data) + 1;
    size--;
    const std::unique_ptr<char[]> rows(new char[rows_bytes_max(size)]);
    BodyRows out;
    const char* end = json.parse(shape, {body, size}, BodyLimits(), rows.get(), &out);

    require(end >= rows.get() && end <= rows.get() + rows_bytes_max(size));
    require(out.offset <= size && out.errors_kept <= BodyRows::kErrorsKept);
    if (out.refusal != Refusal::kNone) {
        require(end == rows.get());
        if (out.refusal == Refusal::kMalformedJson || out.refusal == Refusal::kInvalidUtf8) {
            require(ask_jansson(body, size) != Opinion::kAccepts);
        }
        return 0;
    }
    require(ask_jansson(body, size) != Opinion::kRefuses);
    uint32_t lines = 0, tabs = 0;
    for (const char* p = rows.get(); p < end; p++) {
        require(*p != '\0');
        tabs += *p == '\t' ? 1 : 0;
        lines += *p == '\n' ? 1 : 0;
        p += *p == '\\' ? 1 : 0;
    }
    require(lines == out.records && lines > 0 && tabs == 4 * lines && end[-1] == '\n');
    return 0;
}

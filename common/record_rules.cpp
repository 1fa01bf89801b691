#include "common/record_rules.hpp"

namespace sluice {

bool parse_level(std::string_view text, Level* out) noexcept {
    for (unsigned i = 0; i < kLevelCount; i++) {
        const std::string_view name = kLevelNames[i];
        if (name.size() != text.size()) {
            continue;
        }
        size_t same = 0;
        // The names are upper-case letters only, so clearing bit 5 folds case without letting
        // anything but letters through.
        while (same < name.size() && (text[same] & ~0x20) == name[same] && text[same] >= 'A') {
            same++;
        }
        if (same == name.size()) {
            *out = static_cast<Level>(i);
            return true;
        }
    }
    return false;
}

const RefusalText& refusal_text(Refusal refusal) noexcept {
    static constexpr RefusalText texts[] = {
        {"ok", 200, ""},
        {"malformed_json", 400, "the body must be valid JSON"},
        {"invalid_utf8", 400, "the body must be valid UTF-8"},
        {"empty_body", 400, "the body must not be empty"},
        {"not_an_object", 422, "the body must be a JSON object"},
        {"logs_missing", 422, "a batch must have the key \"logs\""},
        {"logs_not_an_array", 422, "\"logs\" must be an array of records"},
        {"empty_batch", 422, "a batch must hold at least one record"},
        {"too_many_records", 422, "a batch must not hold more records than the server's limit"},
        {"record_not_an_object", 422, "a record must be a JSON object"},
        {"record_too_large", 422, "a record must not be larger than the server's limit"},
        {"missing", 422, "the field is required"},
        {"wrong_type", 422, "the field has the wrong JSON type"},
        {"empty", 422, "the field must not be empty"},
        {"too_long", 422, "the field must not be longer than 50 bytes of UTF-8"},
        {"control_character", 422, "the field must not hold control characters"},
        {"unknown_level", 422, "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"},
        {"bad_timestamp", 422, "must be RFC 3339 or a number of s, ms, us or ns since 1970"},
        {"duplicate_key", 422, "the field must not be given twice"},
        {"unknown_field", 422, "the record has a field that the server does not know"},
        {"lone_surrogate", 422, "a \\u escape must not be half of a surrogate pair"},
        {"too_deep", 422, "values must not be nested deeper than 64"},
        {"number_too_long", 422, "a number must not be longer than 64 characters"},
        {"number_out_of_range", 422, "a number's exponent must be between -308 and 308"},
        {"no_memory", 503, "the server is out of memory"},
    };
    static_assert(sizeof(texts) / sizeof(texts[0]) == kRefusalCount, "a text for every refusal");
    return texts[static_cast<size_t>(refusal)];
}

const char* field_name(RecordField field) noexcept {
    static constexpr const char* names[] = {"",        "device_id", "log_level",
                                            "message", "log_data",  "timestamp"};
    return names[static_cast<size_t>(field)];
}

}  // namespace sluice

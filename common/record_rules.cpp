#include "common/record_rules.hpp"

#include <cstring>

namespace sluice {

namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are compared as they are loaded");

// A name of four to eight letters as one word: its first four and its last four, upper case.
constexpr uint64_t name_word(std::string_view name) {
    uint64_t word = 0;
    for (unsigned i = 0; i < 4; i++) {
        word |= static_cast<uint64_t>(static_cast<unsigned char>(name[i])) << 8 * i;
        word |= static_cast<uint64_t>(static_cast<unsigned char>(name[name.size() - 4 + i]))
                << (32 + 8 * i);
    }
    return word;
}

// The low bits of the first letter tell the five apart.
constexpr unsigned kSlots = 8;
struct LevelSlots {
    uint64_t word[kSlots] = {};
    uint8_t bytes[kSlots] = {};
    Level level[kSlots] = {};
};

constexpr LevelSlots make_slots() {
    LevelSlots slots;
    for (unsigned i = 0; i < kLevelCount; i++) {
        const std::string_view name = kLevelNames[i];
        const unsigned slot = static_cast<unsigned char>(name[0]) % kSlots;
        slots.word[slot] = name_word(name);
        slots.bytes[slot] = static_cast<uint8_t>(name.size());
        slots.level[slot] = static_cast<Level>(i);
    }
    return slots;
}

constexpr LevelSlots kLevelSlots = make_slots();

}  // namespace

// Levels come in no order that a branch predictor could learn, so there is one branch for all.
bool parse_level(std::string_view text, Level* out) noexcept {
    if (text.size() < 4) {
        return false;
    }
    uint32_t first = 0, last = 0;
    std::memcpy(&first, text.data(), 4);
    std::memcpy(&last, text.data() + text.size() - 4, 4);
    // The names are letters only, so clearing bit 5 folds case and lets nothing else through.
    const uint64_t word = (first | static_cast<uint64_t>(last) << 32) & 0xdfdfdfdfdfdfdfdf;
    const unsigned slot = static_cast<unsigned char>(text[0]) % kSlots;
    *out = kLevelSlots.level[slot];
    return kLevelSlots.word[slot] == word && kLevelSlots.bytes[slot] == text.size();
}

bool has_control_character(std::string_view text) noexcept {
    for (size_t i = 0; i < text.size(); i++) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c < 0x20 || c == 0x7f) {
            return true;
        }
        if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
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
        {"not_a_batch", 422,
         "the body must be {\"logs\": [records]}, an array of records, or records one by one"},
        {"logs_missing", 422, "an object that is no record must have the key \"logs\""},
        {"logs_not_an_array", 422, "\"logs\" must be an array of records"},
        {"empty_batch", 422, "a batch must hold at least one record"},
        {"too_many_records", 422, "a batch must not hold more records than the server's limit"},
        {"record_not_an_object", 422, "a record must be a JSON object"},
        {"record_too_large", 422, "a record must not be larger than the server's limit"},
        {"missing", 422, "the field is required"},
        {"wrong_type", 422, "must be a string, log_data an object, timestamp a string or a number"},
        {"empty", 422, "the field must not be empty"},
        {"too_long", 422, "the field must not be longer than 50 bytes of UTF-8"},
        {"control_character", 422, "the field must not hold control characters"},
        {"unknown_level", 422, "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"},
        {"bad_timestamp", 422,
         "must be RFC 3339 with Z or an offset, or s, ms, us or ns since 1970 without an exponent"},
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

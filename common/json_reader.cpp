#include "common/json_reader.hpp"

namespace sluice {

bool JsonReader::stop(Refusal refusal, const char* at) noexcept {
    out_.refusal = refusal;
    out_.offset = static_cast<uint32_t>(at - body_.data());
    return false;
}

bool JsonReader::stop_in_record(RecordField field, Refusal refusal, const char* at) noexcept {
    if (in_record_ && refusal != Refusal::kMalformedJson) {
        record_error(field, refusal, at);
    }
    return stop(refusal, at);
}

void JsonReader::record_error(RecordField field, Refusal refusal, const char* at) noexcept {
    if (!record_is_bad_) {
        record_is_bad_ = true;
        out_.bad_records++;
        out_.bad_by_refusal[static_cast<unsigned>(refusal)]++;
    }
    if (out_.errors_kept < BodyRows::kErrorsKept) {
        out_.errors[out_.errors_kept++] = {out_.records, field, refusal,
                                           static_cast<uint32_t>(at - body_.data())};
    }
}

void JsonReader::escape_error(RecordField field, Refusal refusal, const char* at) noexcept {
    if (refusal == Refusal::kMalformedJson) {
        stop(refusal, at);
    } else {
        record_error(field, refusal, at);
    }
}

bool JsonReader::pass_over_record() noexcept {
    if (!record_is_bad_ || out_.refusal == Refusal::kMalformedJson) {
        return false;
    }
    out_.refusal = Refusal::kNone;
    out_.offset = 0;
    walk = record_walk_;
    walk.skip_by_brackets();
    return true;
}

bool JsonReader::decode_key(std::string_view* key) noexcept {
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
    return true;
}

}  // namespace sluice

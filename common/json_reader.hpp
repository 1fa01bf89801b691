// The tokens of a body, with what is wrong about them: a walk that stops, or a record that is bad.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "common/json_rows.hpp"
#include "common/json_scalars.hpp"
#include "common/json_walk.hpp"

namespace sluice {

class JsonReader {
  public:
    JsonReader(std::string_view body, const JsonIndex& index, BodyRows* out) noexcept
        : walk(body, index), body_(body), out_(*out) {}

    JsonWalk walk;

    // The walk cannot go on, and the whole body is refused. Always false.
    bool stop(Refusal refusal, const char* at) noexcept;
    bool stop_here(Refusal refusal) noexcept { return stop(refusal, here_or_end()); }
    // The same, but if a record is being read it is told which one and what field.
    bool stop_in_record(RecordField field, Refusal refusal, const char* at) noexcept;
    [[nodiscard]] bool stopped() const noexcept { return out_.refusal != Refusal::kNone; }

    [[nodiscard]] const char* here_or_end() const noexcept {
        return walk.at_end() ? walk.body_end() : walk.here();
    }

    void begin_record() noexcept {
        in_record_ = true;
        record_is_bad_ = false;
        record_at_ = here_or_end();
        record_walk_ = walk;
    }
    void end_record() noexcept { in_record_ = false; }
    [[nodiscard]] bool record_is_bad() const noexcept { return record_is_bad_; }
    [[nodiscard]] const char* record_at() const noexcept { return record_at_; }
    // The walk goes on, the record is bad.
    void record_error(RecordField field, Refusal refusal, const char* at) noexcept;
    // A broken escape breaks the JSON of the whole body; half a surrogate only breaks the record.
    void escape_error(RecordField field, Refusal refusal, const char* at) noexcept;
    // Behind a record whose reading was stopped by something else than broken JSON: goes on as if
    // it had only been bad, so that those behind it are read. False if that is not why it stopped.
    [[nodiscard]] bool pass_over_record() noexcept;

    // A key and its colon. A key with escapes is decoded: it may still be one of the known ones.
    [[nodiscard]] bool take_key(std::string_view* key) noexcept {
        if (walk.peek() != '"') {
            return stop_here(Refusal::kMalformedJson);
        }
        *key = walk.string_inside();
        if (std::memchr(key->data(), '\\', key->size()) != nullptr && !decode_key(key)) {
            return false;
        }
        walk.skip();
        return walk.take(':') || stop_here(Refusal::kMalformedJson);
    }

    // The grammar of a value; the escapes of a value that will not be stored are checked here too.
    [[nodiscard]] bool pass_over_value(RecordField field, std::string_view* value) noexcept {
        const char* const begin = here_or_end();
        Refusal refusal = walk.skip_value();
        const char* failed = here_or_end();
        if (refusal == Refusal::kNone) {
            *value = std::string_view(begin, static_cast<size_t>(walk.value_end() - begin));
            if (field == RecordField::kNone) {
                refusal = check_escapes(*value, &failed);
            }
        }
        return refusal == Refusal::kNone || stop_in_record(field, refusal, failed);
    }

  private:
    [[nodiscard]] bool decode_key(std::string_view* key) noexcept;

    std::string_view body_;
    BodyRows& out_;
    bool in_record_ = false;
    bool record_is_bad_ = false;
    const char* record_at_ = nullptr;
    JsonWalk record_walk_ = walk;
    char key_[16];  // room for a key that had to be decoded
};

}  // namespace sluice

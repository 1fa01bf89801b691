#include "common/json_walk.hpp"

#include "common/json_scalars.hpp"

namespace sluice {

Refusal JsonWalk::skip_scalar() noexcept {
    if (at_end()) {
        return Refusal::kMalformedJson;
    }
    if (peek() == '"') {
        const std::string_view inside = string_inside();
        value_end_ = inside.data() + inside.size() + 1;
        skip();
        return Refusal::kNone;
    }
    const Refusal refusal = check_scalar(here(), body_end(), &value_end_);
    if (refusal == Refusal::kNone) {
        skip();
    }
    return refusal;
}

void JsonWalk::skip_by_brackets() noexcept {
    size_t depth = 0;
    do {
        const char c = peek();
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        }
        skip();
    } while (depth != 0 && !at_end());
}

Refusal JsonWalk::skip_value() noexcept {
    uint64_t objects = 0;  // a bit for each open bracket, the innermost lowest: 1 = an object
    unsigned depth = 0;
    bool want_value = true;
    for (;;) {
        if (want_value) {
            const char c = peek();
            if (c == '{' || c == '[') {
                if (depth == kJsonDepthMax) {
                    return Refusal::kTooDeep;
                }
                depth++;
                objects = objects << 1 | (c == '{' ? 1 : 0);
                skip();
                want_value = peek() != (c == '{' ? '}' : ']');
                if (want_value && c == '{') {
                    if (peek() != '"') {
                        return Refusal::kMalformedJson;
                    }
                    skip();
                    if (!take(':')) {
                        return Refusal::kMalformedJson;
                    }
                }
                continue;
            }
            const Refusal refusal = skip_scalar();
            if (refusal != Refusal::kNone) {
                return refusal;
            }
            want_value = false;
        }
        if (depth == 0) {
            return Refusal::kNone;
        }
        const bool in_object = (objects & 1) != 0;
        if (take(',')) {
            if (in_object && (!take('"') || !take(':'))) {
                return Refusal::kMalformedJson;
            }
            want_value = true;
            continue;
        }
        if (peek() != (in_object ? '}' : ']')) {
            return Refusal::kMalformedJson;
        }
        value_end_ = here() + 1;
        skip();
        objects >>= 1;
        depth--;
    }
}

}  // namespace sluice

#include "daemon/serve/json_value.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "daemon/serve/utf8.hpp"

namespace sluice {
namespace {

constexpr int kDepthMax = 64;

bool is_space(char c) noexcept {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

// Digits without zeros at either end, and the power of ten of the last one: 1.0 and 10e-1 are 1e0.
std::string one_way_of(std::string_view number) {
    const bool negative = number.front() == '-';
    std::string digits;
    int64_t power = 0;
    size_t at = negative ? 1 : 0;
    for (bool fraction = false; at < number.size(); ++at) {
        if (number[at] == '.') {
            fraction = true;
        } else if (is_digit(number[at])) {
            digits.push_back(number[at]);
            power -= fraction ? 1 : 0;
        } else {
            break;
        }
    }
    if (at < number.size()) {
        const char* begin = number.data() + at + 1;
        begin += *begin == '+' ? 1 : 0;
        int64_t exponent = 0;
        std::from_chars(begin, number.data() + number.size(), exponent);
        power += exponent;
    }
    digits.erase(0, digits.find_first_not_of('0'));
    while (!digits.empty() && digits.back() == '0') {
        digits.pop_back();
        ++power;
    }
    if (digits.empty()) {
        return "0";
    }
    return (negative ? "-" : "") + digits + "e" + std::to_string(power);
}

}  // namespace

class JsonParse {
  public:
    explicit JsonParse(std::string_view json) noexcept : rest_(json) {}

    bool value(JsonValue* out, int depth) {
        skip_space();
        if (rest_.empty() || depth > kDepthMax) {
            return false;
        }
        switch (rest_.front()) {
            case '{':
                out->kind_ = JsonValue::Kind::kObject;
                return object(out, depth);
            case '[':
                out->kind_ = JsonValue::Kind::kArray;
                return array(out, depth);
            case '"':
                out->kind_ = JsonValue::Kind::kString;
                return string(&out->text_);
            case 't':
                out->kind_ = JsonValue::Kind::kTrue;
                return word("true");
            case 'f':
                out->kind_ = JsonValue::Kind::kFalse;
                return word("false");
            case 'n':
                out->kind_ = JsonValue::Kind::kNull;
                return word("null");
            default:
                out->kind_ = JsonValue::Kind::kNumber;
                return number(&out->text_);
        }
    }

    bool at_end() {
        skip_space();
        return rest_.empty();
    }

  private:
    void skip_space() {
        while (!rest_.empty() && is_space(rest_.front())) {
            rest_.remove_prefix(1);
        }
    }

    bool take(char c) {
        skip_space();
        if (rest_.empty() || rest_.front() != c) {
            return false;
        }
        rest_.remove_prefix(1);
        return true;
    }

    bool word(std::string_view text) {
        if (rest_.substr(0, text.size()) != text) {
            return false;
        }
        rest_.remove_prefix(text.size());
        return true;
    }

    bool number(std::string* out) {
        const size_t end = std::min(rest_.find_first_not_of("0123456789+-.eE"), rest_.size());
        const std::string_view text = rest_.substr(0, end);
        if (text.find_first_of("0123456789") == std::string_view::npos) {
            return false;
        }
        *out = one_way_of(text);
        rest_.remove_prefix(end);
        return true;
    }

    bool object(JsonValue* out, int depth) {
        rest_.remove_prefix(1);
        if (take('}')) {
            return true;
        }
        do {
            skip_space();
            std::string name;
            JsonValue member;
            if (rest_.empty() || rest_.front() != '"' || !string(&name) || !take(':') ||
                !value(&member, depth + 1)) {
                return false;
            }
            out->names_.push_back(std::move(name));
            out->values_.push_back(std::move(member));
        } while (take(','));
        return take('}');
    }

    bool array(JsonValue* out, int depth) {
        rest_.remove_prefix(1);
        if (take(']')) {
            return true;
        }
        do {
            if (!value(&out->values_.emplace_back(), depth + 1)) {
                return false;
            }
        } while (take(','));
        return take(']');
    }

    bool string(std::string* out) {
        rest_.remove_prefix(1);
        for (;;) {
            const size_t plain = rest_.find_first_of("\"\\");
            if (plain == std::string_view::npos) {
                return false;
            }
            out->append(rest_.substr(0, plain));
            const bool closed = rest_[plain] == '"';
            rest_.remove_prefix(plain + 1);
            if (closed) {
                return true;
            }
            if (!escape(out)) {
                return false;
            }
        }
    }

    bool escape(std::string* out) {
        static constexpr std::string_view kEscapes = "\"\\/bfnrt";
        static constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
        if (rest_.empty()) {
            return false;
        }
        const char c = rest_.front();
        rest_.remove_prefix(1);
        if (c == 'u') {
            return unicode(out);
        }
        const size_t which = kEscapes.find(c);
        if (which == std::string_view::npos) {
            return false;
        }
        out->push_back(kMeant[which]);
        return true;
    }

    bool unicode(std::string* out) {
        uint32_t point = 0;
        if (!hex(&point)) {
            return false;
        }
        if (point >= 0xd800 && point < 0xdc00) {
            uint32_t low = 0;
            if (!word("\\u") || !hex(&low) || low < 0xdc00 || low > 0xdfff) {
                return false;
            }
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        }
        append_utf8(point, out);
        return true;
    }

    bool hex(uint32_t* out) {
        constexpr size_t kDigits = 4;
        const char* const end = rest_.data() + std::min(kDigits, rest_.size());
        const auto result = std::from_chars(rest_.data(), end, *out, 16);
        if (rest_.size() < kDigits || result.ptr != end || result.ec != std::errc()) {
            return false;
        }
        rest_.remove_prefix(kDigits);
        return true;
    }

    std::string_view rest_;
};

std::unique_ptr<JsonValue> JsonValue::parse(std::string_view json) {
    auto value = std::make_unique<JsonValue>();
    JsonParse parse(json);
    return parse.value(value.get(), 0) && parse.at_end() ? std::move(value) : nullptr;
}

const JsonValue* JsonValue::member(std::string_view name) const noexcept {
    for (size_t i = names_.size(); i-- > 0;) {
        if (names_[i] == name) {
            return &values_[i];
        }
    }
    return nullptr;
}

bool JsonValue::has_element(const JsonValue& wanted) const {
    return std::any_of(values_.begin(), values_.end(), [&](const JsonValue& element) {
        return wanted.is_scalar() ? element.equals(wanted) : element.contains(wanted);
    });
}

bool JsonValue::contains(const JsonValue& other) const {
    if (kind_ != other.kind_) {
        return false;
    }
    if (is_scalar()) {
        return equals(other);
    }
    if (kind_ == Kind::kArray) {
        return std::all_of(other.values_.begin(), other.values_.end(),
                           [&](const JsonValue& wanted) { return has_element(wanted); });
    }
    return std::all_of(other.names_.begin(), other.names_.end(), [&](const std::string& name) {
        const JsonValue* const mine = member(name);
        return mine != nullptr && mine->contains(*other.member(name));
    });
}

}  // namespace sluice

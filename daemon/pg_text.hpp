// Values as Postgres reads them as parameters.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/frame.hpp"
#include "common/timestamp.hpp"

namespace sluice {

inline void append_time(int64_t epoch_us, std::string* out) {
    char text[kTimestampBytes + 1];
    out->append(text, static_cast<size_t>(format_timestamp(epoch_us, text) - text));
}

inline std::string time_text(int64_t epoch_us) {
    std::string text;
    append_time(epoch_us, &text);
    return text;
}

inline std::string hex_text(std::string_view bytes) {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string text(2 * bytes.size(), '\0');
    for (size_t i = 0; i < bytes.size(); ++i) {
        const auto byte = static_cast<uint8_t>(bytes[i]);
        text[2 * i] = kHex[byte >> 4];
        text[2 * i + 1] = kHex[byte & 15];
    }
    return text;
}

inline std::string bytea_text(std::string_view bytes) {
    return "\\x" + hex_text(bytes);
}

inline std::string uuid_text(const ProducerId& id) {
    return hex_text({reinterpret_cast<const char*>(id.data()), id.size()});
}

// At most so many bytes of UTF-8, and no part of a character.
inline std::string cut_text(std::string_view text, size_t bytes_max) {
    size_t end = text.size() < bytes_max ? text.size() : bytes_max;
    while (end > 0 && end < text.size() && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) {
        --end;
    }
    return std::string(text.substr(0, end));
}

// Array literals of the kind {a,b,c}; none of the values needs quotes.
class ArrayText {
  public:
    std::string& next() {
        text_.push_back(text_.empty() ? '{' : ',');
        return text_;
    }
    void add(std::string_view value) { next().append(value); }
    void add(int64_t value) {
        char text[24];
        add(std::string_view(
            text, static_cast<size_t>(std::to_chars(text, text + sizeof text, value).ptr - text)));
    }
    const char* close() {
        text_.append(text_.empty() ? "{}" : "}");
        return text_.c_str();
    }

  private:
    std::string text_;
};

}  // namespace sluice

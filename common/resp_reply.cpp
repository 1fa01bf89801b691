#include "common/resp_reply.hpp"

#include <cstring>

namespace sluice {
namespace {

constexpr size_t kLineBytesMax = 4096;
constexpr int64_t kElementsMax = 1024;

// The line at the front, without its CRLF; *bytes counts the CRLF too.
ReplyStatus read_line(const char* data, size_t size, std::string_view* line, size_t* bytes) {
    const size_t window = size < kLineBytesMax ? size : kLineBytesMax;
    const void* found = std::memchr(data, '\r', window);
    if (found == nullptr) {
        return size < kLineBytesMax ? ReplyStatus::kIncomplete : ReplyStatus::kBroken;
    }
    const auto length = static_cast<size_t>(static_cast<const char*>(found) - data);
    if (length + 1 == size) {
        return ReplyStatus::kIncomplete;
    }
    if (data[length + 1] != '\n') {
        return ReplyStatus::kBroken;
    }
    *line = std::string_view(data, length);
    *bytes = length + 2;
    return ReplyStatus::kComplete;
}

bool parse_integer(std::string_view text, int64_t* out) {
    const bool negative = !text.empty() && text.front() == '-';
    text.remove_prefix(negative ? 1 : 0);
    if (text.empty() || text.size() > 18) {
        return false;
    }
    int64_t value = 0;
    for (char c : text) {
        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + (c - '0');
    }
    *out = negative ? -value : value;
    return true;
}

ReplyStatus read_value(const char* data, size_t size, unsigned depth, Reply* out);

ReplyStatus read_bulk(const char* data, size_t size, Reply* out) {
    if (out->integer == -1) {
        out->type = ReplyType::kNull;
        return ReplyStatus::kComplete;
    }
    if (out->integer < 0 || out->integer > static_cast<int64_t>(kReplyBytesMax)) {
        return ReplyStatus::kBroken;
    }
    const auto length = static_cast<size_t>(out->integer);
    if (size - out->bytes < length + 2) {
        return ReplyStatus::kIncomplete;
    }
    const char* text = data + out->bytes;
    if (text[length] != '\r' || text[length + 1] != '\n') {
        return ReplyStatus::kBroken;
    }
    out->text = std::string_view(text, length);
    out->bytes += length + 2;
    return ReplyStatus::kComplete;
}

ReplyStatus read_array(const char* data, size_t size, unsigned depth, Reply* out) {
    if (out->integer == -1) {
        out->type = ReplyType::kNull;
        return ReplyStatus::kComplete;
    }
    if (out->integer < 0 || out->integer > kElementsMax || depth == kReplyDepthMax) {
        return ReplyStatus::kBroken;
    }
    const size_t head_bytes = out->bytes;
    for (int64_t i = 0; i < out->integer; i++) {
        Reply element;
        const ReplyStatus status =
            read_value(data + out->bytes, size - out->bytes, depth + 1, &element);
        if (status != ReplyStatus::kComplete) {
            return status;
        }
        out->bytes += element.bytes;
    }
    out->text = std::string_view(data + head_bytes, out->bytes - head_bytes);
    return ReplyStatus::kComplete;
}

ReplyStatus read_value(const char* data, size_t size, unsigned depth, Reply* out) {
    *out = Reply{ReplyType::kNull, {}, 0, 0};
    if (size == 0) {
        return ReplyStatus::kIncomplete;
    }
    static constexpr char types[] = "+-:$*";
    const char* type = std::strchr(types, data[0]);
    if (type == nullptr || *type == '\0') {
        return ReplyStatus::kBroken;
    }
    std::string_view line;
    size_t line_bytes = 0;
    const ReplyStatus status = read_line(data + 1, size - 1, &line, &line_bytes);
    if (status != ReplyStatus::kComplete) {
        return status;
    }
    out->bytes = 1 + line_bytes;
    if (*type == '+' || *type == '-') {
        out->type = *type == '+' ? ReplyType::kStatus : ReplyType::kError;
        out->text = line;
        return ReplyStatus::kComplete;
    }
    if (!parse_integer(line, &out->integer)) {
        return ReplyStatus::kBroken;
    }
    switch (*type) {
        case ':':
            out->type = ReplyType::kInteger;
            return ReplyStatus::kComplete;
        case '$':
            out->type = ReplyType::kBulk;
            return read_bulk(data, size, out);
        default:
            out->type = ReplyType::kArray;
            return read_array(data, size, depth, out);
    }
}

}  // namespace

ReplyStatus read_reply(const char* data, size_t size, Reply* out) noexcept {
    const ReplyStatus status = read_value(data, size, 0, out);
    if (status == ReplyStatus::kIncomplete && size >= kReplyBytesMax) {
        return ReplyStatus::kBroken;
    }
    return status;
}

bool take_element(std::string_view* elements, Reply* out) noexcept {
    if (read_value(elements->data(), elements->size(), 1, out) != ReplyStatus::kComplete) {
        return false;
    }
    elements->remove_prefix(out->bytes);
    return true;
}

bool is_entry_id(std::string_view text) noexcept {
    const size_t dash = text.find('-');
    const auto is_number = [](std::string_view part) {
        return !part.empty() && part.size() <= 20 &&
               part.find_first_not_of("0123456789") == std::string_view::npos;
    };
    return dash != std::string_view::npos && is_number(text.substr(0, dash)) &&
           is_number(text.substr(dash + 1));
}

}  // namespace sluice

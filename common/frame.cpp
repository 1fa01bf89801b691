#include "common/frame.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace sluice {
namespace {

constexpr std::string_view kFieldNames[] = {"v", "u", "t", "n", "r"};
constexpr size_t kFieldCount = sizeof(kFieldNames) / sizeof(kFieldNames[0]);
constexpr size_t kDecimalBytesMax = 20;

char* append(std::string_view text, char* out) {
    std::memcpy(out, text.data(), text.size());
    return out + text.size();
}

char* append_bulk(std::string_view text, char* out) {
    *out++ = '$';
    out = std::to_chars(out, out + kDecimalBytesMax, text.size()).ptr;
    out = append("\r\n", out);
    out = append(text, out);
    return append("\r\n", out);
}

char* append_bulk(uint64_t number, char* out) {
    char digits[kDecimalBytesMax];
    const char* end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
    return append_bulk(std::string_view(digits, static_cast<size_t>(end - digits)), out);
}

template <typename Number>
bool parse_number(std::string_view text, Number* out) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), *out);
    return failed == std::errc() && end == text.data() + text.size();
}

// No frame of any version has such a field, and other producers may send one named v.
bool is_plain_entry(const EntryField* fields, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (fields[i].name == "device_id") {
            return true;
        }
    }
    return false;
}

FrameError read_fields(const EntryField* fields, size_t count, Frame* out) {
    if (count == 0 || fields[0].name != kFieldNames[0]) {
        return FrameError::kDamaged;
    }
    if (fields[0].value != kFrameVersion) {
        return FrameError::kUnknownVersion;
    }
    if (count != kFieldCount) {
        return FrameError::kDamaged;
    }
    for (size_t i = 1; i < kFieldCount; i++) {
        if (fields[i].name != kFieldNames[i]) {
            return FrameError::kDamaged;
        }
    }
    const std::string_view id = fields[1].value;
    if (id.size() != out->producer_id.size() ||
        !parse_number(fields[2].value, &out->receive_time_ms) ||
        !parse_number(fields[3].value, &out->records)) {
        return FrameError::kDamaged;
    }
    std::memcpy(out->producer_id.data(), id.data(), id.size());
    out->rows = fields[4].value;
    if (out->records == 0 || out->records > kFrameRecordsMax || out->rows.empty() ||
        out->rows.back() != '\n') {
        return FrameError::kDamaged;
    }
    set_receive_time(out->receive_time_ms, out);
    return FrameError::kNone;
}

}  // namespace

void ProducerIds::seed(const uint8_t (&random)[kSeedBytes]) noexcept {
    std::memcpy(random_, random, sizeof(random_));
    counter_ = 0;
}

ProducerId ProducerIds::next(int64_t now_ms) noexcept {
    const auto ms = static_cast<uint64_t>(now_ms);
    const uint32_t counter = counter_++ & 0xffffff;
    ProducerId id;
    for (unsigned i = 0; i < 6; i++) {
        id[i] = static_cast<uint8_t>(ms >> (40 - 8 * i));
    }
    id[6] = static_cast<uint8_t>(0x70 | counter >> 20);
    id[7] = static_cast<uint8_t>(counter >> 12);
    id[8] = static_cast<uint8_t>(0x80 | (counter >> 6 & 0x3f));
    id[9] = static_cast<uint8_t>((counter & 0x3f) << 2 | (random_[0] & 3));
    for (unsigned i = 0; i < 6; i++) {
        id[10 + i] = random_[2 + i];
    }
    return id;
}

ProducerId keyed_producer_id(const uint8_t* hash) noexcept {
    ProducerId id;
    std::memcpy(id.data(), hash, id.size());
    id[6] = static_cast<uint8_t>(0x80 | (id[6] & 0x0f));
    id[8] = static_cast<uint8_t>(0x80 | (id[8] & 0x3f));
    return id;
}

ProducerId hashed_producer_id(uint64_t ms, const uint8_t* hash) noexcept {
    ProducerId id;
    std::memcpy(id.data(), hash, id.size());
    for (unsigned i = 0; i < 6; i++) {
        id[i] = static_cast<uint8_t>(ms >> (40 - 8 * i));
    }
    id[6] = static_cast<uint8_t>(0x70 | (id[6] & 0x0f));
    id[8] = static_cast<uint8_t>(0x80 | (id[8] & 0x3f));
    return id;
}

char* write_frame_head(const FrameHead& head, char* rows) noexcept {
    char text[kFrameHeadBytesMax];
    char* out = append("*13\r\n$4\r\nXADD\r\n", text);
    out = append_bulk(head.stream, out);
    out = append("$1\r\n*\r\n$1\r\nv\r\n$1\r\n1\r\n$1\r\nu\r\n", out);
    out = append_bulk(std::string_view(reinterpret_cast<const char*>(head.producer_id.data()),
                                       head.producer_id.size()),
                      out);
    out = append("$1\r\nt\r\n", out);
    out = append_bulk(static_cast<uint64_t>(head.receive_time_ms), out);
    out = append("$1\r\nn\r\n", out);
    out = append_bulk(static_cast<uint64_t>(head.records), out);
    out = append("$1\r\nr\r\n$", out);
    out = std::to_chars(out, out + kDecimalBytesMax, head.rows_bytes).ptr;
    out = append("\r\n", out);
    const auto bytes = static_cast<size_t>(out - text);
    std::memcpy(rows - bytes, text, bytes);
    return rows - bytes;
}

char* write_frame_tail(char* rows_end) noexcept {
    return append("\r\n", rows_end);
}

void set_receive_time(int64_t ms, Frame* frame) noexcept {
    frame->receive_time_ms = std::clamp(ms, kReceiveTimeMinMs, kReceiveTimeMaxMs);
    frame->time_clamped = frame->receive_time_ms != ms;
}

FrameError read_frame(const EntryField* fields, size_t count, Frame* out) noexcept {
    const FrameError error = read_fields(fields, count, out);
    return error != FrameError::kNone && is_plain_entry(fields, count) ? FrameError::kPlainEntry
                                                                       : error;
}

}  // namespace sluice

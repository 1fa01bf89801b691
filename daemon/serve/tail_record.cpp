#include "daemon/serve/tail_record.hpp"

#include <algorithm>
#include <charconv>

#include "common/copy_text.hpp"
#include "daemon/pg_text.hpp"
#include "daemon/serve/bodies.hpp"

namespace sluice {
namespace {

// The value of the column that begins the row, which then begins with the next one.
bool take_column(std::string_view* row, std::string* out) {
    out->clear();
    size_t at = 0;
    for (; at < row->size() && (*row)[at] != '\t'; ++at) {
        char c = (*row)[at];
        if (c == '\\') {
            if (++at == row->size()) {
                return false;
            }
            static constexpr std::string_view kEscapes = "bfnrtv";
            static constexpr std::string_view kMeant = "\b\f\n\r\t\v";
            const size_t which = kEscapes.find((*row)[at]);
            c = which == std::string_view::npos ? (*row)[at] : kMeant[which];
        }
        out->push_back(c);
    }
    row->remove_prefix(std::min(at + 1, row->size()));
    return true;
}

}  // namespace

std::string to_string(const TailPlace& place) {
    return to_string(place.entry) + "-" + std::to_string(place.position);
}

bool parse_tail_place(std::string_view text, TailPlace* out) noexcept {
    const size_t last = text.rfind('-');
    if (last == std::string_view::npos || !parse_stream_id(text.substr(0, last), &out->entry)) {
        return false;
    }
    const char* const end = text.data() + text.size();
    const auto position = std::from_chars(text.data() + last + 1, end, out->position);
    return position.ec == std::errc() && position.ptr == end;
}

bool TailRecord::read(std::string_view row) {
    std::string level;
    constexpr int kColumns = 5;
    if (std::count(row.begin(), row.end(), '\t') != kColumns - 1 ||
        !take_column(&row, &device_id_) || !take_column(&row, &level) ||
        !take_column(&row, &message_) || !take_column(&row, &log_data_) ||
        !parse_level(level, &level_)) {
        return false;
    }
    // White space between tokens, as no string has them as they are.
    std::replace(log_data_.begin(), log_data_.end(), '\n', ' ');
    std::replace(log_data_.begin(), log_data_.end(), '\r', ' ');
    if (row == kCopyNull) {
        event_time_.clear();
        return true;
    }
    return take_column(&row, &event_time_);
}

std::string TailRecord::event(const TailPlace& place, int64_t receive_time_ms) const {
    const std::string id = to_string(place);
    std::string text = "id: " + id + "\ndata: {\"device_id\":";
    append_json_string(device_id_, &text);
    text.append(",\"log_level\":\"").append(kLevelNames[static_cast<size_t>(level_)]);
    text.append("\",\"message\":");
    append_json_string(message_, &text);
    text.append(",\"log_data\":").append(log_data_).append(",\"created_at\":\"");
    append_time(receive_time_ms * 1000, &text);
    text.push_back('"');
    if (!event_time_.empty()) {
        text.append(",\"event_time\":");
        append_json_string(event_time_, &text);
    }
    text.append(",\"message_id\":\"").append(id).append("\"}\n\n");
    return text;
}

}  // namespace sluice

#include "daemon/commands/letter.hpp"

#include <charconv>

namespace sluice {
namespace {

// "5:hello,", taken off the front.
bool take_netstring(std::string_view* text, std::string_view* value) {
    size_t bytes = 0;
    const char* const end = text->data() + text->size();
    const auto digits = std::from_chars(text->data(), end, bytes);
    if (digits.ec != std::errc() || digits.ptr == end || *digits.ptr != ':') {
        return false;
    }
    text->remove_prefix(static_cast<size_t>(digits.ptr - text->data()) + 1);
    if (bytes >= text->size() || (*text)[bytes] != ',') {
        return false;
    }
    *value = text->substr(0, bytes);
    text->remove_prefix(bytes + 1);
    return true;
}

int hex_value(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

bool read_fields_text(std::string_view text, std::vector<EntryField>* fields) {
    fields->clear();
    while (!text.empty()) {
        EntryField field;
        if (!take_netstring(&text, &field.name) || !take_netstring(&text, &field.value)) {
            return false;
        }
        fields->push_back(field);
    }
    return !fields->empty();
}

std::vector<std::pair<std::string, std::string_view>> columns_of_row(std::string_view row) {
    static constexpr const char* kNames[] = {"device_id", "log_level", "message", "log_data",
                                             "event_time"};
    std::vector<std::pair<std::string, std::string_view>> columns;
    for (bool more = true; more;) {
        const size_t tab = row.find('\t');
        more = tab != std::string_view::npos;
        const size_t number = columns.size();
        columns.emplace_back(
            number < std::size(kNames) ? kNames[number] : "column " + std::to_string(number + 1),
            row.substr(0, tab));
        row.remove_prefix(more ? tab + 1 : row.size());
    }
    return columns;
}

bool read_bytea(std::string_view text, std::string* bytes) {
    if (text.substr(0, 2) != "\\x" || text.size() % 2 != 0) {
        return false;
    }
    bytes->clear();
    bytes->reserve(text.size() / 2);
    for (size_t i = 2; i < text.size(); i += 2) {
        const int high = hex_value(text[i]);
        const int low = hex_value(text[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes->push_back(static_cast<char>(high << 4 | low));
    }
    return true;
}

}  // namespace sluice

#include "common/query_accept.hpp"

#include <cstdint>

namespace sluice {
namespace {

struct Type {
    std::string_view name;
    QueryFormat format;
};
constexpr Type kTypes[] = {
    {"application/json", QueryFormat::kPage},
    {"application/*", QueryFormat::kPage},
    {"*/*", QueryFormat::kPage},
    {"application/x-ndjson", QueryFormat::kNdjson},
    {"application/ndjson", QueryFormat::kNdjson},
    {"application/jsonl", QueryFormat::kNdjson},
    {"text/csv", QueryFormat::kCsv},
};
constexpr uint32_t kWhole = 1000;

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equal_in_any_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) {
        return false;
    }
    for (size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return true;
}

std::string_view trimmed(std::string_view text) {
    const size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) {
        return {};
    }
    return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

// Takes the part in front of the separator off the text.
std::string_view next_part(std::string_view* text, char separator) {
    const size_t end = text->find(separator);
    const std::string_view part = trimmed(text->substr(0, end));
    *text = end == std::string_view::npos ? std::string_view() : text->substr(end + 1);
    return part;
}

// 0.25 as 250. What is not a quality is none.
uint32_t thousandths(std::string_view text) {
    if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1') ||
        (text.size() > 1 && text[1] != '.')) {
        return 0;
    }
    uint32_t value = text[0] == '1' ? kWhole : 0;
    uint32_t unit = kWhole / 10;
    for (size_t i = 2; i < text.size(); ++i, unit /= 10) {
        if (text[i] < '0' || text[i] > '9') {
            return 0;
        }
        value += static_cast<uint32_t>(text[i] - '0') * unit;
    }
    return value <= kWhole ? value : 0;
}

uint32_t quality_of(std::string_view parameters) {
    while (!parameters.empty()) {
        const std::string_view parameter = next_part(&parameters, ';');
        if (equal_in_any_case(parameter.substr(0, 2), "q=")) {
            return thousandths(parameter.substr(2));
        }
    }
    return kWhole;
}

}  // namespace

QueryFormat format_accepted(std::string_view accept) noexcept {
    QueryFormat best = QueryFormat::kPage;
    uint32_t best_quality = 0;
    while (!accept.empty()) {
        std::string_view range = next_part(&accept, ',');
        const std::string_view name = next_part(&range, ';');
        const uint32_t quality = quality_of(range);
        for (const Type& type : kTypes) {
            if (quality > best_quality && equal_in_any_case(name, type.name)) {
                best = type.format;
                best_quality = quality;
            }
        }
    }
    return best;
}

}  // namespace sluice

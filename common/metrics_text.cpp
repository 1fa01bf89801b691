#include "common/metrics_text.hpp"

#include <charconv>
#include <cstring>

namespace sluice {

void MetricsText::append(std::string_view text) noexcept {
    if (out_ == nullptr || static_cast<size_t>(end_ - out_) < text.size()) {
        out_ = nullptr;
        return;
    }
    std::memcpy(out_, text.data(), text.size());
    out_ += text.size();
}

void MetricsText::append_number(uint64_t number) noexcept {
    char digits[20];
    const char* end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
    append({digits, static_cast<size_t>(end - digits)});
}

// number / scale, where scale is a power of ten: digits only, for a double would lose some.
void MetricsText::append_scaled(uint64_t number, uint64_t scale) noexcept {
    append_number(number / scale);
    uint64_t rest = number % scale;
    if (rest == 0) {
        return;
    }
    append(".");
    while (rest != 0) {
        scale /= 10;
        append_number(rest / scale);
        rest %= scale;
    }
}

void MetricsText::family(std::string_view name, std::string_view type,
                         std::string_view help) noexcept {
    name_ = name;
    append("# HELP ");
    append(name);
    append(" ");
    append(help);
    append("\n# TYPE ");
    append(name);
    append(" ");
    append(type);
    append("\n");
}

void MetricsText::sample(std::string_view label, std::string_view value, uint64_t number,
                         uint64_t scale) noexcept {
    append(name_);
    if (!label.empty()) {
        append("{");
        append(label);
        append("=\"");
        append(value);
        append("\"}");
    }
    append(" ");
    append_scaled(number, scale);
    append("\n");
}

void MetricsText::sample(std::string_view label, std::string_view value, std::string_view label2,
                         std::string_view value2, uint64_t number) noexcept {
    for (std::string_view text : {name_, {"{"}, label, {"=\""}, value, {"\","}, label2, {"=\""},
                                  value2, {"\"} "}}) {
        append(text);
    }
    append_number(number);
    append("\n");
}

void MetricsText::histogram(const uint64_t* bounds, const uint64_t* counts, size_t bounds_count,
                            uint64_t sum, uint64_t scale) noexcept {
    uint64_t cumulated = 0;
    for (size_t i = 0; i <= bounds_count; i++) {
        cumulated += counts[i];
        append(name_);
        append("_bucket{le=\"");
        if (i < bounds_count) {
            append_scaled(bounds[i], scale);
        } else {
            append("+Inf");
        }
        append("\"} ");
        append_number(cumulated);
        append("\n");
    }
    append(name_);
    append("_sum ");
    append_scaled(sum, scale);
    append("\n");
    append(name_);
    append("_count ");
    append_number(cumulated);
    append("\n");
}

}  // namespace sluice

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

void MetricsText::counter(std::string_view name, std::string_view help, uint64_t number) noexcept {
    family(name, "counter", help);
    sample("", "", number);
}

void MetricsText::gauge(std::string_view name, std::string_view help, uint64_t number) noexcept {
    family(name, "gauge", help);
    sample("", "", number);
}

void MetricsText::begin_sample(std::string_view suffix) noexcept {
    append(name_);
    append(suffix);
    labelled_ = !labels_.empty();
    if (labelled_) {
        append("{");
        append(labels_);
    }
}

void MetricsText::add_label(std::string_view name, std::string_view value) noexcept {
    append(labelled_ ? "," : "{");
    append(name);
    append("=\"");
    append(value);
    append("\"");
    labelled_ = true;
}

void MetricsText::end_sample(uint64_t number, uint64_t scale) noexcept {
    append(labelled_ ? "} " : " ");
    append_scaled(number, scale);
    append("\n");
}

void MetricsText::sample(std::string_view label, std::string_view value, uint64_t number,
                         uint64_t scale) noexcept {
    begin_sample("");
    if (!label.empty()) {
        add_label(label, value);
    }
    end_sample(number, scale);
}

void MetricsText::sample(std::string_view label, std::string_view value, std::string_view label2,
                         std::string_view value2, uint64_t number) noexcept {
    begin_sample("");
    add_label(label, value);
    add_label(label2, value2);
    end_sample(number, 1);
}

void MetricsText::histogram(const uint64_t* bounds, const uint64_t* counts, size_t bounds_count,
                            uint64_t sum, uint64_t scale) noexcept {
    uint64_t cumulated = 0;
    for (size_t i = 0; i <= bounds_count; i++) {
        cumulated += counts[i];
        begin_sample("_bucket");
        append(labelled_ ? ",le=\"" : "{le=\"");
        if (i < bounds_count) {
            append_scaled(bounds[i], scale);
        } else {
            append("+Inf");
        }
        append("\"");
        labelled_ = true;
        end_sample(cumulated, 1);
    }
    begin_sample("_sum");
    end_sample(sum, scale);
    begin_sample("_count");
    end_sample(cumulated, 1);
}

}  // namespace sluice

// Prometheus' text format, written into the caller's buffer. What does not fit is left out and
// told: fits() is false then, and the text must not be used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

class MetricsText {
  public:
    MetricsText(char* out, size_t room) noexcept : begin_(out), out_(out), end_(out + room) {}

    // The head of a family; its samples follow. type is counter, gauge or histogram.
    void family(std::string_view name, std::string_view type, std::string_view help) noexcept;

    // A family of one sample.
    void counter(std::string_view name, std::string_view help, uint64_t number) noexcept;
    void gauge(std::string_view name, std::string_view help, uint64_t number) noexcept;

    // What every sample has from here on besides its own labels, as it is written (a="b",c="d");
    // empty: nothing. Not copied.
    void labels(std::string_view text) noexcept { labels_ = text; }

    // A sample of the family, with one label (an empty name: none), or two. Label values are
    // words of our own, so nothing in them needs an escape. The number is in units of 1/scale, a
    // power of ten.
    void sample(std::string_view label, std::string_view value, uint64_t number,
                uint64_t scale = 1) noexcept;
    void sample(std::string_view label, std::string_view value, std::string_view label2,
                std::string_view value2, uint64_t number) noexcept;

    // A histogram: counts[i] are those above bounds[i - 1] and up to bounds[i], the last those
    // above all bounds. Bounds and sum are in units of 1/scale.
    void histogram(const uint64_t* bounds, const uint64_t* counts, size_t bounds_count,
                   uint64_t sum, uint64_t scale) noexcept;

    [[nodiscard]] bool fits() const noexcept { return out_ != nullptr; }
    [[nodiscard]] size_t size() const noexcept { return static_cast<size_t>(out_ - begin_); }

  private:
    void append(std::string_view text) noexcept;
    void append_number(uint64_t number) noexcept;
    void append_scaled(uint64_t number, uint64_t scale) noexcept;
    void begin_sample(std::string_view suffix) noexcept;
    void add_label(std::string_view name, std::string_view value) noexcept;
    void end_sample(uint64_t number, uint64_t scale) noexcept;

    char* begin_;
    char* out_;  // nullptr: it did not fit
    char* end_;
    std::string_view name_;
    std::string_view labels_;
    bool labelled_ = false;  // the sample that is being written
};

}  // namespace sluice

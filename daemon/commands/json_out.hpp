// Writes JSON for scripts: members of objects and elements of arrays, in the order they come.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

class JsonOut {
  public:
    JsonOut& open(char bracket) {
        separate();
        text_.push_back(bracket);
        first_ = true;
        return *this;
    }
    JsonOut& close(char bracket) {
        text_.push_back(bracket);
        first_ = false;
        return *this;
    }
    JsonOut& key(std::string_view name);
    JsonOut& string(std::string_view value);  // what is no UTF-8 in it is shown as printable() does
    JsonOut& number(uint64_t value) { return raw(std::to_string(value)); }
    JsonOut& number(double value);  // to a thousandth
    JsonOut& boolean(bool value) { return raw(value ? "true" : "false"); }
    JsonOut& null() { return raw("null"); }

    [[nodiscard]] const std::string& text() const noexcept { return text_; }

  private:
    JsonOut& raw(std::string_view value) {
        separate();
        text_.append(value);
        return *this;
    }
    void separate() {
        if (!first_) {
            text_.push_back(',');
        }
        first_ = false;
    }

    std::string text_;
    bool first_ = true;
};

}  // namespace sluice

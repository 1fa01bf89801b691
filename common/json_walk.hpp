// A walk over the tokens of one document, in the order of its bytes, that checks the grammar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/json_index.hpp"
#include "common/record_rules.hpp"

namespace sluice {

class JsonWalk {
  public:
    JsonWalk(std::string_view body, const JsonIndex& index) noexcept
        : body_(body), token_(index.tokens()), last_(token_ + index.count()) {}

    [[nodiscard]] bool at_end() const noexcept { return token_ == last_; }
    // The first byte of the token, or NUL behind the last one: JSON has no token that begins so.
    [[nodiscard]] char peek() const noexcept { return at_end() ? '\0' : *here(); }
    [[nodiscard]] const char* here() const noexcept { return body_.data() + *token_; }
    [[nodiscard]] const char* body_end() const noexcept { return body_.data() + body_.size(); }

    void skip() noexcept { token_++; }
    [[nodiscard]] bool take(char c) noexcept {
        if (peek() != c) {
            return false;
        }
        token_++;
        return true;
    }

    // The inside of the string at the current token, which ends before the next token but for
    // white space: the index has no token for a closing quote.
    [[nodiscard]] std::string_view string_inside() const noexcept {
        const char* const begin = here() + 1;
        const char* close = body_.data() + token_[1] - 1;
        while (*close != '"') {
            close--;
        }
        return {begin, static_cast<size_t>(close - begin)};
    }

    // Goes over the value at the current token, whatever it is, and checks all but the escapes
    // in its strings. Behind it, value_end() is where its text ended.
    [[nodiscard]] Refusal skip_value() noexcept;
    [[nodiscard]] const char* value_end() const noexcept { return value_end_; }

    // Goes over the value by its brackets alone, whatever else is wrong with it.
    void skip_by_brackets() noexcept;

  private:
    [[nodiscard]] Refusal skip_scalar() noexcept;

    std::string_view body_;
    const uint32_t* token_;
    const uint32_t* last_;
    const char* value_end_ = nullptr;
};

}  // namespace sluice

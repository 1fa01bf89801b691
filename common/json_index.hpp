// simdjson's first stage over one document: where every token begins. It checks UTF-8, that
// strings are closed and hold no raw control characters; it picks its kernel for the CPU at run
// time. The second stage (a DOM) is not used: it turns numbers into doubles, and rows want their
// text. The grammar is checked by whoever walks the index (json_rows).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/record_rules.hpp"

namespace simdjson::internal {
class dom_parser_implementation;
}

namespace sluice {

class JsonIndex {
  public:
    JsonIndex() noexcept;
    ~JsonIndex();
    JsonIndex(const JsonIndex&) = delete;
    JsonIndex& operator=(const JsonIndex&) = delete;

    // Afterwards tokens()[0..count()) are offsets into data, and tokens()[count()] == size.
    // The memory of the largest document so far is kept for the next, unless it was very large.
    [[nodiscard]] Refusal build(const char* data, size_t size) noexcept;

    [[nodiscard]] const uint32_t* tokens() const noexcept { return tokens_; }
    [[nodiscard]] uint32_t count() const noexcept { return count_; }

    [[nodiscard]] size_t capacity() const noexcept { return capacity_; }

  private:
    [[nodiscard]] bool allocate(size_t size) noexcept;

    std::unique_ptr<simdjson::internal::dom_parser_implementation> stage_;
    size_t capacity_ = 0;
    const uint32_t* tokens_ = nullptr;
    uint32_t count_ = 0;
};

}  // namespace sluice

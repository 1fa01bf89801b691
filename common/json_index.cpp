#include "common/json_index.hpp"

#include <simdjson.h>

#include <algorithm>

namespace sluice {
namespace {

// The index takes four bytes for each of the document. What is larger is given back with the next
// document that is not.
constexpr size_t kCapacityKept = 2 * 1024 * 1024;

}  // namespace

JsonIndex::JsonIndex() noexcept = default;
JsonIndex::~JsonIndex() = default;

Refusal JsonIndex::build(const char* data, size_t size) noexcept {
    count_ = 0;
    if (size == 0) {
        return Refusal::kEmptyBody;
    }
    const bool too_large = capacity_ > kCapacityKept && size <= kCapacityKept;
    if ((size > capacity_ || too_large) && !allocate(size)) {
        return Refusal::kNoMemory;
    }
    const simdjson::error_code error = stage_->stage1(reinterpret_cast<const uint8_t*>(data), size,
                                                      simdjson::stage1_mode::regular);
    tokens_ = stage_->structural_indexes.get();
    count_ = stage_->n_structural_indexes;
    switch (error) {
        case simdjson::SUCCESS:
            return Refusal::kNone;
        case simdjson::EMPTY:
            return Refusal::kEmptyBody;
        case simdjson::UTF8_ERROR:
            return Refusal::kInvalidUtf8;
        default:
            return Refusal::kMalformedJson;
    }
}

bool JsonIndex::allocate(size_t size) noexcept {
    // Doubling keeps a growing series of bodies from allocating each time.
    const size_t capacity = std::max(size, std::min(2 * capacity_, kCapacityKept));
    stage_.reset();
    capacity_ = 0;
    if (simdjson::get_active_implementation()->create_dom_parser_implementation(
            capacity, kJsonDepthMax, stage_) != simdjson::SUCCESS) {
        return false;
    }
    capacity_ = capacity;
    return true;
}

}  // namespace sluice

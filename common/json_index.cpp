#include "common/json_index.hpp"

#include <simdjson.h>

namespace sluice {

JsonIndex::JsonIndex() noexcept = default;
JsonIndex::~JsonIndex() = default;

Refusal JsonIndex::build(const char* data, size_t size) noexcept {
    count_ = 0;
    if (size == 0) {
        return Refusal::kEmptyBody;
    }
    if (size > capacity_) {
        // Doubling keeps a growing series of bodies from allocating each time.
        const size_t capacity = size > 2 * capacity_ ? size : 2 * capacity_;
        stage_.reset();
        capacity_ = 0;
        if (simdjson::get_active_implementation()->create_dom_parser_implementation(
                capacity, kJsonDepthMax, stage_) != simdjson::SUCCESS) {
            return Refusal::kNoMemory;
        }
        capacity_ = capacity;
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

}  // namespace sluice

// A JSON value as Postgres' jsonb has it, so far as one can ask whether it contains another: of
// keys that are given twice the last counts, and numbers are equal whatever way they are written.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

class JsonValue {
  public:
    enum class Kind : uint8_t { kNull, kFalse, kTrue, kNumber, kString, kArray, kObject };

    // Null if it is no JSON, or deeper than a record may be.
    [[nodiscard]] static std::unique_ptr<JsonValue> parse(std::string_view json);

    // As the operator @>, of objects.
    [[nodiscard]] bool contains(const JsonValue& other) const;

  private:
    friend class JsonParse;

    [[nodiscard]] bool is_scalar() const noexcept { return kind_ < Kind::kArray; }
    [[nodiscard]] bool equals(const JsonValue& other) const noexcept {
        return kind_ == other.kind_ && text_ == other.text_;
    }
    [[nodiscard]] const JsonValue* member(std::string_view name) const noexcept;
    [[nodiscard]] bool has_element(const JsonValue& wanted) const;

    Kind kind_ = Kind::kNull;
    std::string text_;                // of a string, decoded; of a number, in the one way it can be
    std::vector<std::string> names_;  // of an object's members, in the order of values_
    std::vector<JsonValue> values_;
};

}  // namespace sluice

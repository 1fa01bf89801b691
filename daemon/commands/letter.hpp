// A dead letter as the table keeps it, and what it says to a human.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/entry.hpp"

namespace sluice {

// The fields of an entry from what fields_text() made of them; false if it was cut, or is none.
// They point into the text.
[[nodiscard]] bool read_fields_text(std::string_view text, std::vector<EntryField>* fields);

// The columns of a row as it stands in a frame, each with its name: "column 6" is one too many.
[[nodiscard]] std::vector<std::pair<std::string, std::string_view>> columns_of_row(
    std::string_view row);

// "\x0a..." as Postgres shows a bytea; false if it is none.
[[nodiscard]] bool read_bytea(std::string_view text, std::string* bytes);

}  // namespace sluice

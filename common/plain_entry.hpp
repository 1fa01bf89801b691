// Entries in the layout of other producers: a record's fields as fields of the entry, in any order
// and among others. Judged by the rules of a record, they become the row that the edge would have
// written.
//
//   device_id, log_level, message   text
//   log_data                        JSON, an object; missing or empty is {}
//   created_at                      the row's event_time, as clients of the edge may send it, and
//                                   in UTC if it has no offset. None if missing or unreadable: no
//                                   record is refused for it
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/frame.hpp"
#include "common/json_index.hpp"
#include "common/record_rules.hpp"

namespace sluice {

struct PlainEntry {
    Refusal refusal = Refusal::kNone;
    RecordField field = RecordField::kNone;
};

class PlainEntries {
  public:
    // Room for the row of any entry with these fields.
    [[nodiscard]] static size_t row_bytes_max(const EntryField* fields, size_t count) noexcept;

    // Returns the end of the row that was written; meaningless if the entry is refused.
    char* write_row(const EntryField* fields, size_t count, char* row, PlainEntry* out) noexcept;

  private:
    JsonIndex index_;
};

}  // namespace sluice

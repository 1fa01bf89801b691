// Goes over one record of a body and writes it as a row.
#pragma once

#include <string_view>

#include "common/json_reader.hpp"
#include "common/json_scalars.hpp"

namespace sluice {

class RecordParse {
  public:
    RecordParse(JsonReader* reader, const BodyLimits& limits, BodyRows* out) noexcept
        : reader_(*reader), limits_(limits), out_(*out) {}

    // The record at the current token; returns the end of its row. Afterwards the reader says
    // whether the record was bad, or the walk has stopped.
    char* parse(char* row) noexcept;

    // Of the record parsed last, if it is good.
    [[nodiscard]] Level level() const noexcept { return level_; }

    [[nodiscard]] static RecordField known_field(std::string_view key) noexcept;

  private:
    // The values of the record, as they stand in the body. Columns have a fixed order and keys have
    // not, so a record is gone over first and written after.
    struct FoundFields {
        static constexpr unsigned kCount = 6;
        std::string_view value[kCount];  // by RecordField; empty = not given

        std::string_view& operator[](RecordField field) noexcept {
            return value[static_cast<unsigned>(field)];
        }
    };

    [[nodiscard]] bool find_fields(FoundFields* found, const char** end) noexcept;
    [[nodiscard]] bool find_field(FoundFields* found) noexcept;
    [[nodiscard]] bool copy_required(RecordField field, std::string_view value, char* out,
                                     CopiedText* text) noexcept;
    char* write_row(FoundFields& found, char* out) noexcept;
    char* write_device_id(std::string_view value, char* out) noexcept;
    char* write_level(std::string_view value, char* out) noexcept;
    char* write_message(std::string_view value, char* out) noexcept;
    char* write_log_data(std::string_view value, char* out) noexcept;
    char* write_event_time(std::string_view value, char* out) noexcept;

    JsonReader& reader_;
    const BodyLimits& limits_;
    BodyRows& out_;
    Level level_ = Level::kDebug;
};

}  // namespace sluice

// A row of logs as text, for pages and exports.
#pragma once

#include <string>

#include "daemon/pg_connection.hpp"

namespace sluice {

// Of rows with the columns of PageColumn: an object.
void append_row_json(const PgRows& rows, int row, std::string* out);

// A line for spreadsheets (RFC 4180), ended; and the line above all others.
void append_row_csv(const PgRows& rows, int row, std::string* out);
inline constexpr const char* kCsvHead =
    "id,created_at,device_id,log_level,message,log_data,event_time\r\n";

}  // namespace sluice

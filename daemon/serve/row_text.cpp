#include "daemon/serve/row_text.hpp"

#include <algorithm>
#include <iterator>

#include "daemon/pg_text.hpp"
#include "daemon/serve/bodies.hpp"
#include "daemon/serve/page_sql.hpp"

namespace sluice {
namespace {

// What a spreadsheet takes for a formula, or skips in front of one; the last four are the first
// ones as wide as a Chinese character. A quote in front makes text of it.
constexpr std::string_view kBeginsFormula[] = {"=",  "+",      "-",      "@",      "\t",    "\r",
                                               "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"};

bool begins_formula(std::string_view value) {
    return std::any_of(
        std::begin(kBeginsFormula), std::end(kBeginsFormula),
        [&](std::string_view begin) { return value.substr(0, begin.size()) == begin; });
}

void append_csv(std::string_view value, std::string* out) {
    out->append(begins_formula(value) ? "\"'" : "\"");
    for (const char c : value) {
        if (c == '"') {
            out->push_back('"');
        }
        out->push_back(c);
    }
    out->push_back('"');
}

}  // namespace

void append_row_json(const PgRows& rows, int row, std::string* out) {
    out->append("{\"id\":").append(rows.text(row, kPageId));
    out->append(",\"device_id\":");
    append_json_string(rows.text(row, kPageDevice), out);
    out->append(",\"log_level\":\"").append(rows.text(row, kPageLevel));
    out->append("\",\"message\":");
    append_json_string(rows.text(row, kPageMessage), out);
    out->append(",\"log_data\":").append(rows.text(row, kPageData));
    out->append(",\"created_at\":\"");
    append_time(rows.integer(row, kPageCreatedUs), out);
    if (!rows.text(row, kPageEventUs).empty()) {
        out->append("\",\"event_time\":\"");
        append_time(rows.integer(row, kPageEventUs), out);
    }
    out->append("\"}");
}

void append_row_csv(const PgRows& rows, int row, std::string* out) {
    out->append(rows.text(row, kPageId)).push_back(',');
    append_time(rows.integer(row, kPageCreatedUs), out);
    out->push_back(',');
    append_csv(rows.text(row, kPageDevice), out);
    out->append(",").append(rows.text(row, kPageLevel)).push_back(',');
    append_csv(rows.text(row, kPageMessage), out);
    out->push_back(',');
    append_csv(rows.text(row, kPageData), out);
    out->push_back(',');
    if (!rows.text(row, kPageEventUs).empty()) {
        append_time(rows.integer(row, kPageEventUs), out);
    }
    out->append("\r\n");
}

}  // namespace sluice

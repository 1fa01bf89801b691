#include "daemon/serve/export.hpp"

#include <algorithm>

#include "daemon/clock.hpp"
#include "daemon/serve/page_walk.hpp"
#include "daemon/serve/row_text.hpp"

namespace sluice {
namespace {

// A part is about as large as that, however large rows are, and ends behind the row that passes
// four times as much.
constexpr size_t kPartBytes = 1 << 20;
constexpr size_t kPartBytesMax = 4 * kPartBytes;
constexpr uint32_t kPartRowsFirst = 100;
constexpr uint32_t kPartRowsMax = 5000;

struct Format {
    const char* content_type;
    const char* file_name;
};
// By QueryFormat.
constexpr Format kFormats[] = {
    {},
    {"application/json", "logs.json"},
    {"application/x-ndjson", "logs.ndjson"},
    {"text/csv; charset=utf-8; header=present", "logs.csv"},
};

const Format& format_of(const Query& query) {
    return kFormats[static_cast<size_t>(query.format)];
}

}  // namespace

Export::Export(const Query& query)
    : query_(query),
      left_(query.limit == 0 ? UINT64_MAX : query.limit),
      part_rows_(static_cast<uint32_t>(std::min<uint64_t>(left_, kPartRowsFirst))) {}

const char* Export::content_type() const noexcept {
    return format_of(query_).content_type;
}

const char* Export::file_name() const noexcept {
    return format_of(query_).file_name;
}

bool Export::read(PgConnection* connection, int64_t settled_us, int64_t timeout_ms,
                  std::string* part) {
    part->clear();
    if (!begun_ && query_.format == QueryFormat::kCsv) {
        *part = kCsvHead;
    }
    const std::string held_before = held_;
    size_t bytes = 0;
    const PageMoment moment{wall_us(), settled_us, steady_us() + timeout_ms * 1000 / 2};
    PageWalk walk(query_, moment);
    const auto on_row = [&](const PgRows& rows, int row) {
        part->append(held_);
        held_.clear();
        append_row(rows, row, &held_);
        bytes += held_.size();
        if (bytes > kPartBytesMax) {
            walk.enough();
        }
    };
    const uint64_t rows_before = rows_;
    if (!walk.read(connection, part_rows_, on_row)) {
        rows_ = rows_before;
        held_ = held_before;
        return false;
    }
    begun_ = true;
    left_ -= walk.count();
    whole_ = left_ == 0 || !walk.has_more();
    if (whole_) {
        part->append(held_);
    }
    if (whole_ && query_.format == QueryFormat::kJson) {
        part->append(rows_ == 0 ? "[]\n" : "\n]\n");
    }
    if (!whole_) {
        query_.has_cursor = true;
        query_.cursor = *walk.next();
        const size_t row_bytes = bytes / std::max<uint32_t>(walk.count(), 1) + 1;
        part_rows_ = static_cast<uint32_t>(std::clamp<uint64_t>(
            kPartBytes / row_bytes, 1, std::min<uint64_t>(left_, kPartRowsMax)));
    }
    return true;
}

void Export::append_row(const PgRows& rows, int row, std::string* out) {
    if (query_.format == QueryFormat::kCsv) {
        append_row_csv(rows, row, out);
    } else {
        const bool in_array = query_.format == QueryFormat::kJson;
        out->append(!in_array ? "" : rows_ == 0 ? "[\n" : ",\n");
        append_row_json(rows, row, out);
        out->append(in_array ? "" : "\n");
    }
    ++rows_;
}

}  // namespace sluice

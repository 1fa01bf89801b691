// What a reader asks, from the target of a request: one parser for the edge, which keys its cache
// by it, and the server, which answers it; so that the two can never disagree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/percent.hpp"
#include "common/query_cursor.hpp"
#include "common/query_time.hpp"
#include "common/record_rules.hpp"

namespace sluice {

inline constexpr uint32_t kQueryLimitDefault = 100;
inline constexpr uint32_t kQueryLimitMax = 1000;
inline constexpr uint32_t kQueryExportLimitMax = 100000000;
inline constexpr uint32_t kQueryOffsetMax = 100000;
inline constexpr size_t kQueryTextBytesMax = 200;
inline constexpr size_t kQueryContainsBytesMax = 1000;

enum class QueryKind : uint8_t { kLogs, kStats, kHits, kTail };

// A page, or all that there is as a file.
enum class QueryFormat : uint8_t { kPage, kJson, kNdjson, kCsv };

// Text without memory of its own.
template <size_t kBytesMax>
class QueryText {
  public:
    [[nodiscard]] std::string_view view() const noexcept { return {bytes_, size_}; }
    [[nodiscard]] bool given() const noexcept { return size_ != 0; }
    // text has at most kBytesMax bytes.
    void set(std::string_view text) noexcept {
        size_ = text.size();
        text.copy(bytes_, size_);
    }

  private:
    size_t size_ = 0;
    char bytes_[kBytesMax];
};

struct Query {
    QueryKind kind = QueryKind::kLogs;
    QueryFormat format = QueryFormat::kPage;
    uint32_t limit = kQueryLimitDefault;  // 0: of a file, all
    uint32_t offset = 0;
    uint8_t levels = 0;  // a bit a Level; 0 = all
    bool ascending = false;
    bool has_cursor = false;
    QueryCursor cursor;
    QueryTime from;       // inclusive
    QueryTime to;         // exclusive
    uint32_t step_s = 0;  // 0 = what suits the time that is asked for
    QueryText<kDeviceIdBytesMax> device_id;
    QueryText<kQueryTextBytesMax> text;
    QueryText<kQueryContainsBytesMax> contains;  // a JSON object
};

struct QueryError {
    std::string_view parameter;  // as it stands in the target
    const char* code;            // stable
    const char* rule;            // what would have been right
};

enum class QueryVerdict : uint8_t { kGood, kBad, kNoEndpoint };

// target is a path and, behind a '?', parameters, both undecoded. A device in the path
// (/api/logs/pump-7) is the same as one in the parameters; one named "stream" has them only.
// Unknown and repeated parameters are errors. error is set for kBad. preferred is for a target that
// does not say its format, where it can be had in it.
[[nodiscard]] QueryVerdict parse_query(std::string_view target, Query* out, QueryError* error,
                                       QueryFormat preferred = QueryFormat::kPage) noexcept;

// The one target that asks this: parameters in a fixed order, those at their defaults left out.
inline constexpr size_t kQueryTargetBytesMax =
    512 + kPercentFactor * (kDeviceIdBytesMax + kQueryTextBytesMax + kQueryContainsBytesMax);
char* write_query(const Query& query, char* out) noexcept;

}  // namespace sluice

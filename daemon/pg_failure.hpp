// What Postgres' errors mean for whoever stores: the one place where SQLSTATEs are judged.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

enum class PgFailure : uint8_t {
    kNone,
    kLost,         // the connection is closed; what was under way may or may not have happened
    kTransient,    // would go through another time
    kNoPartition,  // a partition is missing, or the whole table
    kBadData,      // these values would be refused again, others would not
    kRefused,      // would be refused again, whatever the values: schema, rights, internal errors
};

// SQLSTATE of a statement that took longer than it may, or was cancelled by somebody.
inline constexpr std::string_view kQueryCancelled = "57014";

// Of an error report: its SQLSTATE, and whether it names a constraint.
[[nodiscard]] PgFailure classify_sqlstate(std::string_view sqlstate, bool has_constraint) noexcept;

// Which line COPY was at, from an error's context; 0 if that does not say. Only a hint: the context
// follows the server's language, and lines that run into each other are counted as one.
[[nodiscard]] uint64_t copy_line(std::string_view context) noexcept;

}  // namespace sluice

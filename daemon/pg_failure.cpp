#include "daemon/pg_failure.hpp"

#include <charconv>

namespace sluice {
namespace {

// "COPY logs, line 3, column message: ..."
constexpr std::string_view kCopyContext = "COPY ";
constexpr std::string_view kLine = ", line ";

bool is_of_class(std::string_view sqlstate, std::string_view wanted) noexcept {
    return sqlstate.substr(0, 2) == wanted;
}

}  // namespace

PgFailure classify_sqlstate(std::string_view sqlstate, bool has_constraint) noexcept {
    // "No partition of relation found for row" has the state of a violated CHECK, but no
    // constraint's name.
    if (sqlstate == "42P01" || (sqlstate == "23514" && !has_constraint)) {
        return PgFailure::kNoPartition;
    }
    // Connection, transaction state (read-only: behind a failover), serialization and deadlock,
    // resources, locks, cancelled or shutting down, the system under Postgres.
    for (const std::string_view transient : {"08", "25", "40", "53", "55", "57", "58"}) {
        if (is_of_class(sqlstate, transient)) {
            return PgFailure::kTransient;
        }
    }
    // Data exceptions (encodings, numbers, times, jsonb, COPY's format), constraints, and limits
    // as those of an index row.
    for (const std::string_view data : {"22", "23", "54"}) {
        if (is_of_class(sqlstate, data)) {
            return PgFailure::kBadData;
        }
    }
    // Also internal errors (XX): some are passing and some are a damaged table, so they are tried
    // again, but seldom and loudly.
    return PgFailure::kRefused;
}

uint64_t copy_line(std::string_view context) noexcept {
    // The lines before COPY's may be about a value ("JSON data, line 1: ..."), those behind may be
    // the value's own.
    while (!context.empty()) {
        const std::string_view text = context.substr(0, context.find('\n'));
        const size_t at = text.find(kLine);
        if (text.substr(0, kCopyContext.size()) == kCopyContext && at != std::string_view::npos) {
            uint64_t line = 0;
            const char* const digits = text.data() + at + kLine.size();
            const auto parsed = std::from_chars(digits, text.data() + text.size(), line);
            return parsed.ec == std::errc() ? line : 0;
        }
        context.remove_prefix(text.size() < context.size() ? text.size() + 1 : text.size());
    }
    return 0;
}

}  // namespace sluice

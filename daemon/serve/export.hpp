// One file on its way: which rows come next, and what they look like in it.
#pragma once

#include <string>

#include "common/query.hpp"
#include "daemon/pg_connection.hpp"

namespace sluice {

class Export {
  public:
    explicit Export(const Query& query);

    // The next part of the text, of whole lines; nothing, where nothing was found in the time that
    // a query has. The last row found is held back until there is another, or no more: whatever is
    // sent between two parts stands in front of a row, once there is one. False if Postgres did not
    // answer; the connection's error() says why, and the same part may be asked for again.
    // settled_us: as in PageMoment; timeout_ms: of a query.
    [[nodiscard]] bool read(PgConnection* connection, int64_t settled_us, int64_t timeout_ms,
                            std::string* part);
    [[nodiscard]] bool is_whole() const noexcept { return whole_; }
    [[nodiscard]] uint64_t rows() const noexcept { return rows_; }

    [[nodiscard]] const char* content_type() const noexcept;
    [[nodiscard]] const char* file_name() const noexcept;

  private:
    void append_row(const PgRows& rows, int row, std::string* out);

    Query query_;
    uint64_t left_;       // rows that may still come
    uint32_t part_rows_;  // of the next part
    uint64_t rows_ = 0;   // so far
    std::string held_;    // the last of them
    bool begun_ = false;
    bool whole_ = false;
};

}  // namespace sluice

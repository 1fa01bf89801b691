// What the tail asks of Redis: entries of the stream, and where it ends. It changes nothing there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/entry.hpp"
#include "daemon/redis_connection.hpp"
#include "daemon/serve/tail_reading.hpp"
#include "daemon/settings.hpp"

namespace sluice {

// Entries, and what they lie in.
struct TailEntries {
    RedisValue reply;
    EntryBytes made;
    std::vector<Entry> entries;
};

class TailSource {
  public:
    explicit TailSource(const Settings& settings);

    [[nodiscard]] bool is_open() const noexcept { return connection_.is_open(); }
    [[nodiscard]] bool connect() { return connection_.connect(); }
    void close() { connection_.close(); }
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

    // Each is false with error() where Redis does not answer; the connection is closed then.

    // The oldest of those behind this one; if there are none, those that come within a time.
    [[nodiscard]] bool read_behind(const StreamId& after, int64_t wait_ms, TailEntries* out);
    // From the first to the last.
    [[nodiscard]] bool read_range(const std::string& first, const std::string& last,
                                  uint64_t count_max, TailEntries* out);
    // All of it nothing where there is no stream.
    [[nodiscard]] bool find_ends(StreamEnds* ends);

  private:
    bool read(const RedisValue& entries, TailEntries* out);
    bool failed(const RedisValue& reply);

    RedisConnection connection_;
    std::string stream_;
    EntryReader reader_;
    std::string error_;
};

}  // namespace sluice

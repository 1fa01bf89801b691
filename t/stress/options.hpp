// What scripts/stress is told.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::stress {

struct Options {
    std::string url = "http://127.0.0.1:18723";
    uint64_t devices = 100;
    uint64_t records = 1000;  // of each device
    uint64_t batch = 0;       // records in a request; 0: one, by /api/log
    uint64_t connections = 64;
    uint64_t rate = 0;     // records/s in all; 0: as fast as they are taken
    uint64_t seconds = 0;  // at most; 0: until all are sent
    bool gzip = false;
    std::string header;  // with every request, as "Authorization: ..."
    bool check = true;
    uint64_t drain_seconds = 300;
    uint64_t goal_rate = 10000;
    uint64_t goal_p95_ms = 100;
    std::string json;  // where the report goes as JSON; "-" is stdout
};

extern const char* const kHelp;

// Throws sluice::UsageError.
[[nodiscard]] Options parse_options(const std::vector<std::string>& given);

}  // namespace sluice::stress

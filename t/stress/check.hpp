// Asks the system what is stored of a run, and holds it against what the senders were told.
#pragma once

#include <cstdint>
#include <string>

#include "t/stress/options.hpp"
#include "t/stress/outcomes.hpp"
#include "t/stress/records.hpp"

namespace sluice::stress {

struct CheckFigures {
    bool asked = false;
    std::string error;  // why it could not be told; the rest says nothing then
    double drain_seconds = 0;
    uint64_t stored = 0;    // records of this run, each counted once
    uint64_t lost = 0;      // acknowledged, and not there
    uint64_t twice = 0;     // sent once, and there more than once
    uint64_t uncalled = 0;  // refused, or never sent, and there
    uint64_t unknown = 0;   // of unknown outcome, and there
    uint64_t changed = 0;   // there, and not as it was sent

    [[nodiscard]] bool good() const noexcept {
        return error.empty() && lost == 0 && twice == 0 && uncalled == 0 && changed == 0;
    }
};

[[nodiscard]] CheckFigures check_stored(const Options& options, const Records& records,
                                        const Outcomes& outcomes);

}  // namespace sluice::stress

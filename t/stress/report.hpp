// What a run was like, for humans and for programs.
#pragma once

#include <string>

#include "t/stress/check.hpp"
#include "t/stress/load.hpp"
#include "t/stress/options.hpp"
#include "t/stress/outcomes.hpp"

namespace sluice::stress {

struct Report {
    const Options& options;
    const std::string& run;
    const Outcomes& outcomes;
    const LoadFigures& load;
    const CheckFigures& check;

    [[nodiscard]] double records_per_s() const;
    [[nodiscard]] uint64_t wanted_per_s() const;
    [[nodiscard]] bool rate_met() const;
    [[nodiscard]] bool p95_met() const;
    [[nodiscard]] bool good() const;
    [[nodiscard]] std::string text() const;
    [[nodiscard]] std::string json() const;
};

}  // namespace sluice::stress

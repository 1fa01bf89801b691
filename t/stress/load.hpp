// Sends what is planned, over so many connections, and writes down what became of it.
#pragma once

#include "t/stress/latency.hpp"
#include "t/stress/options.hpp"
#include "t/stress/outcomes.hpp"
#include "t/stress/records.hpp"

namespace sluice::stress {

struct LoadFigures {
    double seconds = 0;
    Latency latency;  // of requests that were answered with 200
};

[[nodiscard]] LoadFigures run_load(const Options& options, const Records& records,
                                   Outcomes* outcomes);

}  // namespace sluice::stress

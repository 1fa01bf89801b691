// Which records go into which request: the devices take turns, each with a batch of its own.
#pragma once

#include <cstdint>

#include "t/stress/options.hpp"

namespace sluice::stress {

struct Request {
    uint64_t device = 0;
    uint64_t first = 0;  // number of its first record, of all that are sent
    uint64_t count = 0;
};

class Plan {
  public:
    explicit Plan(const Options& options)
        : devices_(options.devices),
          left_of_each_(options.records),
          batch_(options.batch == 0 ? 1 : options.batch) {}

    [[nodiscard]] bool done() const noexcept { return left_of_each_ == 0; }
    [[nodiscard]] Request next() noexcept;
    // Of all records so far.
    [[nodiscard]] uint64_t planned() const noexcept { return planned_; }

  private:
    uint64_t devices_;
    uint64_t left_of_each_;  // of the devices from device_ on
    uint64_t batch_;
    uint64_t device_ = 0;
    uint64_t planned_ = 0;
};

}  // namespace sluice::stress

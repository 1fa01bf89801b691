#include "t/stress/plan.hpp"

#include <algorithm>

namespace sluice::stress {

Request Plan::next() noexcept {
    const uint64_t count = std::min(batch_, left_of_each_);
    const Request request{device_, planned_, count};
    planned_ += count;
    if (++device_ == devices_) {
        device_ = 0;
        left_of_each_ -= count;
    }
    return request;
}

}  // namespace sluice::stress

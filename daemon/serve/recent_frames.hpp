// The frames that came lately, so that one which an edge sent twice is shown once.
#pragma once

#include <cstddef>
#include <cstring>
#include <deque>
#include <unordered_map>

#include "common/frame.hpp"
#include "daemon/stream_id.hpp"

namespace sluice {

class RecentFrames {
  public:
    explicit RecentFrames(size_t frames_max) : frames_max_(frames_max) {}

    // Whether it is the first entry of those known that has this frame; it is remembered as one.
    [[nodiscard]] bool is_first(const ProducerId& frame, const StreamId& entry) {
        const auto [known, is_new] = first_.try_emplace(frame, entry);
        if (!is_new) {
            // One that is further ahead may have been seen before.
            known->second = entry < known->second ? entry : known->second;
            return known->second == entry;
        }
        order_.push_back(frame);
        if (order_.size() > frames_max_) {
            first_.erase(order_.front());
            order_.pop_front();
        }
        return true;
    }

  private:
    struct Hash {
        // A frame's last bytes are random.
        size_t operator()(const ProducerId& id) const noexcept {
            size_t hash = 0;
            size_t more = 0;
            memcpy(&hash, id.data(), sizeof hash);
            memcpy(&more, id.data() + sizeof hash, sizeof more);
            return hash * 31 + more;
        }
    };

    const size_t frames_max_;
    std::unordered_map<ProducerId, StreamId, Hash> first_;
    std::deque<ProducerId> order_;
};

}  // namespace sluice

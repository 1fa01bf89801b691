// Those who are shown the same piece of the stream, by the device they watch: a record is only held
// against what they asked for who may want it.
#pragma once

#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/serve/tail_client.hpp"

namespace sluice {

class TailAudience {
  public:
    TailAudience() = default;
    explicit TailAudience(std::vector<TailClient*> clients) : all_(std::move(clients)) {
        for (TailClient* client : all_) {
            of_device_[client->device_id()].push_back(client);
        }
    }

    [[nodiscard]] const std::vector<TailClient*>& all() const noexcept { return all_; }
    // Of this very device; empty: those who watch any.
    [[nodiscard]] const std::vector<TailClient*>& of(std::string_view device_id) const {
        static const std::vector<TailClient*> kNone;
        const auto found = of_device_.find(device_id);
        return found == of_device_.end() ? kNone : found->second;
    }

  private:
    std::vector<TailClient*> all_;
    std::unordered_map<std::string_view, std::vector<TailClient*>> of_device_;
};

}  // namespace sluice

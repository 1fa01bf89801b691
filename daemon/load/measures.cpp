#include "daemon/load/measures.hpp"

#include <algorithm>

namespace sluice {
namespace {

constexpr int64_t kMinuteUs = 60 * 1000 * 1000;

}  // namespace

void EdgeClocks::seen(int64_t frame_ms, int64_t redis_ms, int64_t now_us) noexcept {
    const int64_t minute = now_us / kMinuteUs;
    if (now_.number != minute) {
        before_ = now_;
        now_ = {minute, 0, 0};
    }
    now_.ahead_ms = std::max(now_.ahead_ms, frame_ms - redis_ms);
    now_.behind_ms = std::max(now_.behind_ms, redis_ms - frame_ms);
}

int64_t EdgeClocks::ahead_ms(int64_t now_us) const noexcept {
    const int64_t oldest = now_us / kMinuteUs - 1;
    return std::max(now_.number >= oldest ? now_.ahead_ms : 0,
                    before_.number >= oldest ? before_.ahead_ms : 0);
}

int64_t EdgeClocks::behind_ms(int64_t now_us) const noexcept {
    const int64_t oldest = now_us / kMinuteUs - 1;
    return std::max(now_.number >= oldest ? now_.behind_ms : 0,
                    before_.number >= oldest ? before_.behind_ms : 0);
}

}  // namespace sluice

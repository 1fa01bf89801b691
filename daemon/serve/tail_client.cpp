#include "daemon/serve/tail_client.hpp"

#include <utility>

namespace sluice {
namespace {

constexpr size_t kRoomBytes = 256 * 1024;
constexpr size_t kHandOverBytes = 16 * 1024;
constexpr int64_t kHandOverUs = 200 * 1000;

}  // namespace

// Comes back soon: what he misses meanwhile he is shown then.
TailClient::TailClient(const Query& query, const TailPlace* resume_at)
    : filter_(query), stream_(std::make_shared<BodyStream>(kRoomBytes)) {
    if (resume_at != nullptr) {
        pace_ = Pace::kAsking;
        place_ = *resume_at;
    }
    write("retry: 1000\n\n");
}

bool TailClient::write(std::string text) {
    return stream_->write(std::make_shared<const std::string>(std::move(text)));
}

bool TailClient::has_room() const {
    return stream_->waiting_bytes() <= kRoomBytes / 2;
}

void TailClient::gap(const char* reason, const TailPlace& go_on_behind) {
    if (gap_.empty()) {
        gap_ = "event: gap\ndata: {\"after\":\"" + to_string(place_) + "\",\"reason\":\"" + reason +
               "\"}\n\n";
    }
    tell_missed();
    place_ = go_on_behind;
}

bool TailClient::show(const BodyStream::Piece& event, const TailPlace& place) {
    const bool shown = tell_missed() && stream_->write_quietly(event);
    if (!shown && pace_ == Pace::kBehind) {
        stalled_ = true;
        return false;
    }
    come_to(place);
    shown_bytes_ += shown ? event->size() : 0;
    if (shown_bytes_ >= kHandOverBytes) {
        stream_->wake();
        shown_bytes_ = 0;
    }
    dropped_ += shown ? 0 : 1;
    dropped_new_ += shown ? 0 : 1;
    return shown;
}

void TailClient::hand_over(int64_t now_us) {
    if (now_us >= hand_over_at_us()) {
        stream_->wake();
        shown_bytes_ = 0;
        hand_over_at_us_ = now_us + kHandOverUs;
    }
}

bool TailClient::tell_missed() {
    if (gap_.empty() && dropped_ == 0) {
        return true;
    }
    std::string missed = gap_;
    if (dropped_ != 0) {
        missed += "event: dropped\ndata: {\"records\":" + std::to_string(dropped_) + "}\n\n";
    }
    if (!has_room() || !write(std::move(missed))) {
        return false;
    }
    gap_.clear();
    dropped_ = 0;
    return true;
}

// With the id of the place, so that who is shown little comes back to where he was, too.
void TailClient::beat() {
    if (tell_missed()) {
        const bool known = TailPlace{} < place_;
        write((known ? "id: " + to_string(place_) + "\n" : std::string()) + ":\n\n");
    }
}

}  // namespace sluice

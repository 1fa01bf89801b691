#include "daemon/serve/windows.hpp"

#include <algorithm>

#include "daemon/pg_text.hpp"

namespace sluice {
namespace {

constexpr int64_t kMinuteUs = 60LL * 1000 * 1000;
constexpr int64_t kDayUs = 24 * 60 * kMinuteUs;
constexpr int kBucketsFetched = 400;

constexpr double kDaysFirst = 2;
// Each day is locked with its indexes, and all locks of Postgres share a table.
constexpr double kDaysMost = 64;
// A search begins with so many rows, and then aims at windows of half a second.
constexpr double kRowsFirst = 500;
// Of which a device has a part only, and it alone is looked at.
constexpr double kRowsFirstOfDevice = 20000;
constexpr int64_t kWindowUs = 500 * 1000;
constexpr double kGrowth = 4;

// Of whole days with rows in them; and of minutes.
constexpr const char* kDaysDown =
    "SELECT (extract(epoch FROM day) * 1000000)::bigint, 1 FROM counters_day"
    " WHERE day >= $1 AND day < $2 AND log_level = ANY ($3::log_level[])"
    " GROUP BY day ORDER BY day DESC LIMIT 400";
constexpr const char* kDaysUp =
    "SELECT (extract(epoch FROM day) * 1000000)::bigint, 1 FROM counters_day"
    " WHERE day >= $1 AND day < $2 AND log_level = ANY ($3::log_level[])"
    " GROUP BY day ORDER BY day LIMIT 400";
constexpr const char* kMinutesDown =
    "SELECT (extract(epoch FROM minute) * 1000000)::bigint, sum(n)::bigint FROM counters"
    " WHERE minute >= $1 AND minute < $2 AND log_level = ANY ($3::log_level[])"
    " GROUP BY minute ORDER BY minute DESC LIMIT 400";
constexpr const char* kMinutesUp =
    "SELECT (extract(epoch FROM minute) * 1000000)::bigint, sum(n)::bigint FROM counters"
    " WHERE minute >= $1 AND minute < $2 AND log_level = ANY ($3::log_level[])"
    " GROUP BY minute ORDER BY minute LIMIT 400";

}  // namespace

Windows::Windows(PgConnection* connection, const Query& query, TimeRange bounds, int64_t now_us)
    : connection_(connection),
      ascending_(query.ascending),
      search_(query.text.given() || query.contains.given()),
      levels_(levels_array(query.levels)),
      left_(bounds),
      now_us_(now_us),
      target_(!search_                  ? kDaysFirst
              : query.device_id.given() ? kRowsFirstOfDevice
                                        : kRowsFirst) {}

Windows::Next Windows::next(TimeRange* window) {
    if (left_.empty()) {
        return Next::kEnd;
    }
    if (!begun_) {
        begun_ = true;
        if (first_window(window)) {
            return Next::kWindow;
        }
    }
    if (buckets_.empty()) {
        if (!all_fetched_ && !fetch()) {
            return Next::kFailed;
        }
        if (buckets_.empty()) {
            return Next::kEnd;
        }
    }
    take_buckets(window);
    return Next::kWindow;
}

// The newest page is what is asked for most, and it is found without asking the counters first.
bool Windows::first_window(TimeRange* window) {
    if (search_ || (ascending_ && left_.from_us == kTimestampMinUs)) {
        return false;
    }
    *window = left_;
    if (ascending_) {
        window->to_us = std::min(left_.to_us, floor_to(left_.from_us, kDayUs) + 2 * kDayUs);
        left_.from_us = window->to_us;
    } else {
        const int64_t newest_us = std::min(left_.to_us - 1, now_us_);
        window->from_us = std::max(left_.from_us, floor_to(newest_us, kDayUs) - kDayUs);
        left_.to_us = window->from_us;
    }
    return true;
}

bool Windows::fetch() {
    const int64_t unit_us = search_ ? kMinuteUs : kDayUs;
    const char* sql =
        search_ ? (ascending_ ? kMinutesUp : kMinutesDown) : (ascending_ ? kDaysUp : kDaysDown);
    const std::string from = time_text(std::max(floor_to(left_.from_us, unit_us), kTimestampMinUs));
    const std::string to = time_text(left_.to_us);
    const PgRows rows = connection_->query(sql, {from.c_str(), to.c_str(), levels_.c_str()});
    if (!rows) {
        return false;
    }
    for (int row = 0; row < rows.count(); ++row) {
        buckets_.push_back({rows.integer(row, 0), static_cast<double>(rows.integer(row, 1))});
    }
    all_fetched_ = rows.count() < kBucketsFetched;
    return true;
}

TimeRange Windows::clipped(const Bucket& bucket) const noexcept {
    return {std::max(bucket.start_us, left_.from_us),
            std::min(bucket.start_us + (search_ ? kMinuteUs : kDayUs), left_.to_us)};
}

// As many as make the target, and one at least; but a minute with many times as many rows is cut
// into pieces.
void Windows::take_buckets(TimeRange* window) {
    *window = clipped(buckets_.front());
    double weight = 0;
    while (!buckets_.empty() && (weight == 0 || weight + buckets_.front().weight <= target_)) {
        const TimeRange bucket = clipped(buckets_.front());
        window->from_us = std::min(window->from_us, bucket.from_us);
        window->to_us = std::max(window->to_us, bucket.to_us);
        weight += std::max(buckets_.front().weight, 1.0);
        buckets_.pop_front();
    }
    if (search_ && weight > 2 * target_) {
        const auto piece_us = std::max<int64_t>(
            1000, static_cast<int64_t>(static_cast<double>(kMinuteUs) * target_ / weight));
        const Bucket whole = {floor_to(window->from_us, kMinuteUs), weight};
        if (window->to_us - window->from_us > piece_us) {
            if (ascending_) {
                window->to_us = window->from_us + piece_us;
            } else {
                window->from_us = window->to_us - piece_us;
            }
            buckets_.push_front(whole);
        }
    }
    if (ascending_) {
        left_.from_us = window->to_us;
    } else {
        left_.to_us = window->from_us;
    }
    if (!search_) {
        target_ = std::min(2 * target_, kDaysMost);
    }
}

void Windows::took(int64_t us) noexcept {
    if (search_) {
        const double factor =
            static_cast<double>(kWindowUs) / static_cast<double>(std::max<int64_t>(us, 1));
        target_ *= std::clamp(factor, 1 / kGrowth, kGrowth);
    }
}

}  // namespace sluice

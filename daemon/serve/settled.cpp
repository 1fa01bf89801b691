#include "daemon/serve/settled.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <exception>
#include <string>
#include <vector>

#include "common/frame.hpp"
#include "daemon/clock.hpp"
#include "daemon/pulse.hpp"
#include "daemon/redis_login.hpp"
#include "daemon/stream_id.hpp"

namespace sluice {
namespace {

constexpr std::chrono::milliseconds kPause(200);
constexpr int64_t kLogIntervalUs = 60LL * 1000 * 1000;

// Of a reply that is names and values in turn.
const RedisValue* field_of(const RedisValue& reply, std::string_view name) noexcept {
    for (size_t i = 0; i + 1 < reply.elements.size(); i += 2) {
        if (reply.elements[i].text == name) {
            return &reply.elements[i + 1];
        }
    }
    return nullptr;
}

bool id_of(const RedisValue& reply, std::string_view name, StreamId* id) {
    const RedisValue* value = field_of(reply, name);
    return value != nullptr && parse_stream_id(value->text, id);
}

// From the replies to the questions below. Everything before the oldest entry that is delivered and
// not acknowledged is stored; so is everything up to the last delivered one, if that is older.
// Behind it there may be entries that nobody has read; if there are none, whatever comes gets an id
// of Redis' clock or later.
bool settled_by(const RedisValue& replies, const std::string& group, int64_t* settled_ms,
                int64_t* behind_ms) {
    if (replies.elements.size() != 4 || replies.elements[0].elements.size() != 2 ||
        replies.elements[1].elements.size() != 4) {
        return false;
    }
    const auto number = [](const std::string& text) {
        uint64_t value = 0;
        std::from_chars(text.data(), text.data() + text.size(), value);
        return value;
    };
    const std::vector<RedisValue>& time = replies.elements[0].elements;  // seconds, microseconds
    const uint64_t now_ms = number(time[0].text) * 1000 + number(time[1].text) / 1000;
    uint64_t settled = now_ms;

    StreamId newest;
    StreamId delivered;
    bool found = false;
    for (const RedisValue& info : replies.elements[2].elements) {
        const RedisValue* name = field_of(info, "name");
        found = found || (name != nullptr && name->text == group &&
                          id_of(info, "last-delivered-id", &delivered));
    }
    if (!found || !id_of(replies.elements[3], "last-generated-id", &newest)) {
        return false;
    }
    if (delivered < newest) {
        settled = std::min(settled, delivered.ms);
    }
    StreamId pending;
    if (parse_stream_id(replies.elements[1].elements[1].text, &pending)) {
        settled = std::min(settled, pending.ms);
    }
    *settled_ms = static_cast<int64_t>(settled);
    *behind_ms = static_cast<int64_t>(now_ms - settled);
    return true;
}

}  // namespace

SettledHorizon::SettledHorizon(const Settings& settings)
    : connection_(redis_reader_login_of(settings, "sluiced-serve")),
      stream_(settings.redis_stream),
      group_(settings.redis_group),
      log_limit_(kLogIntervalUs),
      thread_([this] { run(); }) {}

SettledHorizon::~SettledHorizon() {
    stop();
    thread_.join();
}

void SettledHorizon::stop() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    stop_asked_.notify_all();
}

void SettledHorizon::run() noexcept {
    pulse_as("settled horizon");
    try {
        std::unique_lock<std::mutex> lock(mutex_);
        while (!stopping_) {
            lock.unlock();
            look();
            lock.lock();
            pulse_rest();
            stop_asked_.wait_for(lock, kPause, [this] { return stopping_; });
            pulse();
        }
    } catch (const std::exception& error) {
        log_error("the settled horizon stands still").with("error", error.what());
    }
    stopped_ = true;
}

// All of it at one moment: between two questions an entry could be read, stored and acknowledged.
void SettledHorizon::look() {
    std::string why = "it lacks the stream, or its group";
    const std::vector<std::vector<std::string>> questions = {
        {"MULTI"},
        {"TIME"},
        {"XPENDING", stream_, group_},
        {"XINFO", "GROUPS", stream_},
        {"XINFO", "STREAM", stream_},
    };
    RedisValue reply;
    bool asked = connection_.is_open() || connection_.connect();
    for (size_t i = 0; asked && i < questions.size(); ++i) {
        reply = connection_.ask(questions[i]);
        asked = !reply.failed();
    }
    if (asked) {
        reply = connection_.ask({"EXEC"});
        asked = reply.kind == RedisValue::Kind::kArray;
    }
    int64_t settled_ms = 0;
    int64_t behind_ms = 0;
    if (asked && settled_by(reply, group_, &settled_ms, &behind_ms)) {
        behind_ms_.store(behind_ms);
        // It never goes back: what has been said to be settled is.
        settled_us_.store(std::max(settled_us_.load(), (settled_ms - kOnTheWayMsMax) * 1000));
        return;
    }
    behind_ms_.store(0);  // nobody knows
    if (!asked) {
        why = connection_.is_open() ? reply.text : connection_.error();
        connection_.close();
    }
    uint64_t left_out = 0;
    if (log_limit_.allow(steady_us(), &left_out)) {
        log_warn("redis does not say what is settled")
            .with("error", why)
            .with("left_out", left_out);
    }
}

}  // namespace sluice

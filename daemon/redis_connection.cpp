#include "daemon/redis_connection.hpp"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/redis_url.hpp"
#include "daemon/clock.hpp"
#include "daemon/password_file.hpp"
#include "daemon/pulse.hpp"
#include "daemon/socket_peer.hpp"

namespace sluice {
namespace {

constexpr size_t kReceiveBytes = 256 * 1024;
// What hiredis keeps of its buffer between replies; it would give back all above 16 KB each time.
constexpr size_t kReaderBytesKept = 16 * 1024 * 1024;

RedisValue value_of(const redisReply* reply) {
    RedisValue value;
    value.text = std::string(text_of(reply));
    switch (reply->type) {
        case REDIS_REPLY_ERROR:
            value.kind = RedisValue::Kind::kError;
            break;
        case REDIS_REPLY_INTEGER:
            value.kind = RedisValue::Kind::kInteger;
            value.integer = reply->integer;
            break;
        case REDIS_REPLY_ARRAY:
            value.kind = RedisValue::Kind::kArray;
            for (size_t i = 0; i < reply->elements; ++i) {
                value.elements.push_back(value_of(reply->element[i]));
            }
            break;
        case REDIS_REPLY_NIL:
            value.kind = RedisValue::Kind::kNil;
            break;
        default:
            value.kind = RedisValue::Kind::kText;
    }
    return value;
}

}  // namespace

std::string_view text_of(const redisReply* reply) noexcept {
    return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ||
                   reply->type == REDIS_REPLY_ERROR
               ? std::string_view(reply->str, static_cast<size_t>(reply->len))
               : std::string_view();
}

void RedisConnection::FreeContext::operator()(redisContext* context) const noexcept {
    redisFree(context);
}

void RedisConnection::FreeReply::operator()(redisReply* reply) const noexcept {
    freeReplyObject(reply);
}

RedisConnection::RedisConnection(RedisLogin login)
    : login_(std::move(login)), received_(kReceiveBytes, '\0') {}
RedisConnection::~RedisConnection() = default;

bool RedisConnection::connect() {
    context_.reset();
    error_.clear();
    return open_socket() && greet();
}

bool RedisConnection::open_socket() {
    RedisUrl url;
    const char* wrong = nullptr;
    if (!parse_redis_url(login_.url, &url, &wrong)) {
        error_ = wrong;
        return false;
    }
    timeval timeout{};
    timeout.tv_sec = login_.timeout_ms / 1000;
    timeout.tv_usec = static_cast<suseconds_t>(login_.timeout_ms % 1000 * 1000);
    if (url.is_unix) {
        context_.reset(redisConnectUnixWithTimeout(std::string(url.path).c_str(), timeout));
    } else {
        std::string host(url.host);
        if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
            host = host.substr(1, host.size() - 2);
        }
        context_.reset(redisConnectWithTimeout(host.c_str(), url.port, timeout));
    }
    if (context_ == nullptr || context_->err != 0 ||
        redisSetTimeout(context_.get(), timeout) != REDIS_OK) {
        error_ = context_ == nullptr ? "out of memory" : context_->errstr;
        context_.reset();
        return false;
    }
    context_->reader->maxbuf = kReaderBytesKept;
    if (!url.is_unix) {
        redisEnableKeepAlive(context_.get());
    }
    return true;
}

bool RedisConnection::is_local() const noexcept {
    return peer_is_local(context_->fd);
}

bool RedisConnection::greet() {
    RedisUrl url;
    const char* wrong = nullptr;
    std::string password;
    if (!parse_redis_url(login_.url, &url, &wrong) || !read_password(&password)) {
        return false;
    }
    if (password.empty()) {
        password = std::string(url.password);
    }
    if (!password.empty()) {
        std::vector<std::string> auth = {"AUTH"};
        if (!url.user.empty()) {
            auth.emplace_back(url.user);
        }
        auth.push_back(password);
        if (!command_ok(auth)) {
            return false;
        }
    }
    if (url.db != 0 && !command_ok({"SELECT", std::to_string(url.db)})) {
        return false;
    }
    return command_ok({"CLIENT", "SETNAME", login_.client_name});
}

bool RedisConnection::read_password(std::string* password) {
    if (login_.password_file.empty()) {
        return true;
    }
    errno = 0;
    std::string why;
    if (!read_password_file(login_.password_file, password, &why)) {
        error_ = "cannot read the password file " + why;
        return false;
    }
    return true;
}

bool RedisConnection::command_ok(const std::vector<std::string>& words) {
    const ReplyPtr reply = command(words);
    if (!reply) {
        close();
        return false;
    }
    error_ = reply->type == REDIS_REPLY_ERROR ? std::string(text_of(reply.get())) : "";
    return error_.empty();
}

RedisConnection::ReplyPtr RedisConnection::command(const std::vector<std::string>& words,
                                                   int64_t block_ms) {
    if (context_ == nullptr) {
        error_ = "not connected";
        return nullptr;
    }
    const int64_t deadline_us = steady_us() + (login_.timeout_ms + block_ms) * 1000;
    std::vector<const char*> texts(words.size());
    std::vector<size_t> sizes(words.size());
    for (size_t i = 0; i < words.size(); ++i) {
        texts[i] = words[i].data();
        sizes[i] = words[i].size();
    }
    if (redisAppendCommandArgv(context_.get(), static_cast<int>(words.size()), texts.data(),
                               sizes.data()) != REDIS_OK) {
        return no_reply(context_->errstr);
    }
    for (int written = 0; written == 0;) {
        if (redisBufferWrite(context_.get(), &written) != REDIS_OK) {
            return no_reply(context_->errstr);
        }
    }
    return receive(deadline_us);
}

RedisValue RedisConnection::ask(const std::vector<std::string>& words, int64_t block_ms) {
    const ReplyPtr reply = command(words, block_ms);
    if (reply) {
        return value_of(reply.get());
    }
    close();
    RedisValue lost;
    lost.text = error_;
    return lost;
}

// As redisGetReply, which takes 16 KB a system call.
RedisConnection::ReplyPtr RedisConnection::receive(int64_t deadline_us) {
    void* reply = nullptr;
    for (;;) {
        if (redisGetReplyFromReader(context_.get(), &reply) != REDIS_OK) {
            return no_reply(context_->errstr);
        }
        if (reply != nullptr) {
            return ReplyPtr(static_cast<redisReply*>(reply));
        }
        if (!wait_for_bytes(deadline_us)) {
            return no_reply("no answer in time");
        }
        const ssize_t bytes = recv(context_->fd, received_.data(), received_.size(), MSG_DONTWAIT);
        if (bytes == 0) {
            return no_reply("closed by redis");
        }
        if (bytes > 0) {
            redisReaderFeed(context_->reader, received_.data(), static_cast<size_t>(bytes));
        } else if (errno != EINTR && errno != EAGAIN) {
            return no_reply(strerror(errno));
        }
    }
}

// False when the time is up. Whatever else poll has to say, recv says it better.
bool RedisConnection::wait_for_bytes(int64_t deadline_us) {
    for (;;) {
        pulse();
        const int64_t left_us = deadline_us - steady_us();
        if (left_us <= 0) {
            return false;
        }
        pollfd waiting = {context_->fd, POLLIN, 0};
        if (poll(&waiting, 1, static_cast<int>(std::min(left_us / 1000 + 1, kPulseMs))) != 0) {
            return true;
        }
    }
}

RedisConnection::ReplyPtr RedisConnection::no_reply(const char* why) {
    error_ = why;
    return nullptr;
}

}  // namespace sluice

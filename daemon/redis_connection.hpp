// One synchronous connection to Redis with a deadline on every command: reached, logged in, and
// with the database chosen that the URL names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct redisContext;
struct redisReply;

namespace sluice {

struct RedisLogin {
    std::string url;
    std::string password_file;  // wins over the URL's password; read at each connect
    std::string client_name;
    int64_t timeout_ms = 5000;
};

// A reply for those who do not know hiredis.
struct RedisValue {
    enum class Kind : uint8_t { kLost, kError, kNil, kText, kInteger, kArray };

    Kind kind = Kind::kLost;
    std::string text;  // also why it is kLost or kError
    int64_t integer = 0;
    std::vector<RedisValue> elements;

    [[nodiscard]] bool failed() const noexcept {
        return kind == Kind::kLost || kind == Kind::kError;
    }
};

[[nodiscard]] std::string_view text_of(const redisReply* reply) noexcept;

class RedisConnection {
  public:
    struct FreeReply {
        void operator()(redisReply* reply) const noexcept;
    };
    using ReplyPtr = std::unique_ptr<redisReply, FreeReply>;

    explicit RedisConnection(RedisLogin login);
    ~RedisConnection();

    // False with error(); if Redis was reached and refused what it was told, the connection is
    // open.
    [[nodiscard]] bool connect();
    void close() noexcept { context_.reset(); }
    [[nodiscard]] bool is_open() const noexcept { return context_ != nullptr; }

    // Null with error() when the connection is lost, and then to be closed; an error reply is
    // returned as it is. The whole reply has to be there in time; block_ms is what Redis may wait
    // by itself before it answers.
    [[nodiscard]] ReplyPtr command(const std::vector<std::string>& words, int64_t block_ms = 0);
    [[nodiscard]] RedisValue ask(const std::vector<std::string>& words, int64_t block_ms = 0);

    // Of a connection that is open.
    [[nodiscard]] bool is_local() const noexcept;

    [[nodiscard]] const std::string& error() const noexcept { return error_; }

  private:
    struct FreeContext {
        void operator()(redisContext* context) const noexcept;
    };

    bool open_socket();
    bool greet();
    bool read_password(std::string* password);
    bool command_ok(const std::vector<std::string>& words);
    ReplyPtr receive(int64_t deadline_us);
    bool wait_for_bytes(int64_t deadline_us);
    ReplyPtr no_reply(const char* why);

    RedisLogin login_;
    std::unique_ptr<redisContext, FreeContext> context_;
    std::string received_;  // from the socket, on the way to hiredis' reader
    std::string error_;
};

}  // namespace sluice

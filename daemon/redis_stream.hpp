// The loader's conversation with Redis: one synchronous connection, a deadline on every command.
// Each function is one of the core's Redis steps.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/load/actions.hpp"

struct redisContext;
struct redisReply;

namespace sluice {

struct RedisOptions {
    std::string url;
    std::string password_file;  // wins over the URL's password; read at each connect
    std::string stream;
    std::string group;
    std::string consumer;
    int64_t timeout_ms = 5000;
    int64_t claim_idle_ms = 120000;
};

class RedisStream {
  public:
    explicit RedisStream(RedisOptions options);
    ~RedisStream();

    [[nodiscard]] RedisResult perform(const RedisAction& action);

    // Why the last result was not kOk.
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

  private:
    struct FreeContext {
        void operator()(redisContext* context) const noexcept;
    };
    struct FreeReply {
        void operator()(redisReply* reply) const noexcept;
    };
    using ReplyPtr = std::unique_ptr<redisReply, FreeReply>;
    class ReplyBytes;

    RedisResult connect();
    bool open_socket();
    bool greet();
    bool read_password(std::string* password);
    RedisResult ensure_group();
    [[nodiscard]] RedisResult ensure_group_in_full_redis();
    RedisResult read(const RedisAction& action);
    RedisResult claim(const RedisAction& action);
    RedisResult ack(const RedisAction& action);
    RedisResult inspect_groups();
    RedisResult inspect_pending(const RedisAction& action);
    RedisResult trim(const RedisAction& action);
    RedisResult inspect_oldest();
    [[nodiscard]] bool read_entries(const redisReply* reply, EntryBytes* bytes,
                                    std::vector<Entry>* out);
    [[nodiscard]] bool read_stream_entry(const redisReply* reply, EntryBytes* bytes, Entry* out);
    RedisResult measure();
    RedisResult publish(const LoadState& state);

    // Null when the connection was lost; an error reply is returned as it is. The whole reply has
    // to be there in time; block_ms is what Redis may wait by itself before it answers.
    ReplyPtr command(const std::vector<std::string>& words, int64_t block_ms = 0);
    ReplyPtr receive(int64_t deadline_us);
    bool wait_for_bytes(int64_t deadline_us);
    ReplyPtr no_reply(int code, const char* why);
    bool command_ok(const std::vector<std::string>& words);
    RedisResult failure(const redisReply* reply);
    RedisResult lost(const std::string& why);
    RedisResult unexpected(const char* command);

    RedisOptions options_;
    std::unique_ptr<redisContext, FreeContext> context_;
    EntryReader reader_;
    std::vector<EntryField> fields_;  // of the entry that is being read
    std::string received_;            // from the socket, on the way to hiredis' reader
    std::string error_;
};

}  // namespace sluice

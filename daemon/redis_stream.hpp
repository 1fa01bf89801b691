// The loader's conversation with Redis: each function is one of the core's Redis steps.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/load/actions.hpp"
#include "daemon/redis_connection.hpp"

namespace sluice {

struct RedisOptions {
    RedisLogin login;
    std::string stream;
    std::string group;
    std::string consumer;
    int64_t claim_idle_ms = 120000;
};

class RedisStream {
  public:
    explicit RedisStream(RedisOptions options);

    [[nodiscard]] RedisResult perform(const RedisAction& action);

    // From any thread.
    void set_claim_idle(int64_t ms) noexcept { claim_idle_ms_ = ms; }

    // Why the last result was not kOk.
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

  private:
    using ReplyPtr = RedisConnection::ReplyPtr;
    class ReplyBytes;

    RedisResult connect();
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
    RedisResult look(const RedisAction& action);
    void read_kept(RedisResult* result);
    void read_memory(RedisResult* result);
    RedisResult publish(const LoadState& state);

    RedisResult failure(const redisReply* reply);
    RedisResult lost(const std::string& why);
    RedisResult unexpected(const char* command);

    RedisOptions options_;
    RedisConnection connection_;
    std::atomic<int64_t> claim_idle_ms_;
    EntryReader reader_;
    std::vector<EntryField> fields_;  // of the entry that is being read
    std::string error_;
};

}  // namespace sluice

// What a long-running process needs: its pid file, and signals as something to wait for.
#pragma once

#include <cstdint>
#include <string>

namespace sluice {

// Holds the file's lock while it runs, so that a second process of the same kind does not start.
class PidFile {
  public:
    PidFile() = default;
    ~PidFile();
    PidFile(const PidFile&) = delete;
    PidFile& operator=(const PidFile&) = delete;

    // An empty path is no pid file. False with *error set for a human.
    [[nodiscard]] bool create(const std::string& path, std::string* error);

  private:
    std::string path_;
    int fd_ = -1;
};

// For so long a daemon that was told to stop finishes what it has begun. What stops it has to wait
// longer: stopwaitsecs in conf/supervisord.conf, TimeoutStopSec in conf/systemd.
inline constexpr int64_t kStopMs = 8000;

// Blocks SIGTERM, SIGINT and SIGHUP for the calling thread and those it starts later: call it
// before any thread is started.
class Signals {
  public:
    Signals();
    ~Signals();
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    enum class Event : uint8_t { kStop, kReload, kFinished, kTimeout };
    // A negative timeout waits for ever.
    [[nodiscard]] Event wait(int64_t timeout_ms);
    // For a process that is stopping, and has nothing to read anew: never kReload.
    [[nodiscard]] Event wait_stopping(int64_t timeout_ms);

    // From any thread: what the process is there for has ended.
    void finished() noexcept;

  private:
    int signal_fd_ = -1;
    int finished_fd_ = -1;
};

}  // namespace sluice

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

// Blocks SIGTERM and SIGINT for the calling thread and those it starts later, and ignores SIGPIPE:
// call it before any thread is started.
class StopSignals {
  public:
    StopSignals();
    ~StopSignals();
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;

    enum class Event : uint8_t { kSignal, kFinished, kTimeout };
    // A negative timeout waits for ever.
    [[nodiscard]] Event wait(int64_t timeout_ms);

    // From any thread: what the process is there for has ended.
    void finished() noexcept;

  private:
    int signal_fd_ = -1;
    int finished_fd_ = -1;
};

}  // namespace sluice

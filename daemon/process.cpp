#include "daemon/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include "daemon/clock.hpp"

namespace sluice {

PidFile::~PidFile() {
    if (fd_ >= 0) {
        unlink(path_.c_str());
        close(fd_);
    }
}

bool PidFile::create(const std::string& path, std::string* error) {
    if (path.empty()) {
        return true;
    }
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        *error = "cannot open pid file " + path + ": " + strerror(errno);
        return false;
    }
    const std::string pid = std::to_string(getpid()) + "\n";
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        *error = "pid file " + path + " is locked: another one is running";
    } else if (ftruncate(fd, 0) != 0 ||
               write(fd, pid.data(), pid.size()) != static_cast<ssize_t>(pid.size())) {
        *error = "cannot write pid file " + path + ": " + strerror(errno);
    } else {
        path_ = path;
        fd_ = fd;
        return true;
    }
    close(fd);
    return false;
}

Signals::Signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
    finished_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (signal_fd_ < 0 || finished_fd_ < 0) {
        throw std::system_error(errno, std::generic_category(), "signalfd");
    }
}

Signals::~Signals() {
    close(signal_fd_);
    close(finished_fd_);
}

Signals::Event Signals::wait(int64_t timeout_ms) {
    pollfd waiting[] = {{signal_fd_, POLLIN, 0}, {finished_fd_, POLLIN, 0}};
    int ready = 0;
    do {
        ready = poll(waiting, 2, static_cast<int>(timeout_ms));
    } while (ready < 0 && errno == EINTR);
    if (waiting[0].revents != 0) {
        signalfd_siginfo info{};
        [[maybe_unused]] const ssize_t taken = read(signal_fd_, &info, sizeof info);
        return info.ssi_signo == SIGHUP ? Event::kReload : Event::kStop;
    }
    if (waiting[1].revents != 0) {
        uint64_t times = 0;
        [[maybe_unused]] const ssize_t taken = read(finished_fd_, &times, sizeof times);
        return Event::kFinished;
    }
    return Event::kTimeout;
}

Signals::Event Signals::wait_stopping(int64_t timeout_ms) {
    const int64_t until_us = steady_us() + timeout_ms * 1000;
    for (;;) {
        const int64_t left_ms = std::max<int64_t>((until_us - steady_us()) / 1000, 0);
        const Event event = wait(left_ms);
        if (event != Event::kReload) {
            return event;
        }
    }
}

void Signals::finished() noexcept {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(finished_fd_, &one, sizeof one);
}

}  // namespace sluice

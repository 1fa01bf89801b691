#include "daemon/serve/body_stream.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <utility>

namespace sluice {

void BodyStream::wake_reader() {
    if (resting_) {
        resting_ = false;
        wake_();
    }
}

bool BodyStream::has_room_for(const std::string& piece) const {
    return left_ || bytes_ == 0 || bytes_ + piece.size() <= room_bytes_;
}

void BodyStream::append(Piece piece) {
    if (!left_) {
        bytes_ += piece->size();
        pieces_.push_back(std::move(piece));
    }
}

bool BodyStream::write(Piece piece, int64_t timeout_ms) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!read_some_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                             [&] { return has_room_for(*piece); })) {
        return false;
    }
    append(std::move(piece));
    wake_reader();
    return true;
}

bool BodyStream::write_quietly(Piece piece) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!has_room_for(*piece)) {
        return false;
    }
    append(std::move(piece));
    return true;
}

void BodyStream::wake() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!pieces_.empty()) {
        wake_reader();
    }
}

void BodyStream::end(bool whole) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    whole_ = whole;
    if (!left_) {
        wake_reader();
    }
}

void BodyStream::hang_up() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    if (!left_) {
        shutdown(client_fd_, SHUT_RDWR);
        wake_reader();
    }
}

size_t BodyStream::waiting_bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return bytes_;
}

bool BodyStream::reader_has_gone() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    pollfd client = {client_fd_, POLLRDHUP, 0};
    return left_ || poll(&client, 1, 0) > 0;
}

void BodyStream::attach(int client_fd, std::function<void()> rest, std::function<void()> wake) {
    const std::lock_guard<std::mutex> lock(mutex_);
    client_fd_ = client_fd;
    rest_ = std::move(rest);
    wake_ = std::move(wake);
}

void BodyStream::detach() {
    const std::lock_guard<std::mutex> lock(mutex_);
    left_ = true;
    resting_ = false;
    pieces_.clear();
    bytes_ = 0;
    read_some_.notify_all();
}

BodyStream::Read BodyStream::read(char* out, size_t room, size_t* size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (pieces_.empty()) {
        if (ended_) {
            return whole_ ? Read::kEnd : Read::kCutOff;
        }
        // Under the lock, so that who writes next finds it resting and wakes it.
        resting_ = true;
        rest_();
        return Read::kNothingYet;
    }
    *size = 0;
    while (*size < room && !pieces_.empty()) {
        const std::string& first = *pieces_.front();
        const size_t taken = first.copy(out + *size, room - *size, read_of_first_);
        *size += taken;
        read_of_first_ += taken;
        bytes_ -= taken;
        if (read_of_first_ == first.size()) {
            pieces_.pop_front();
            read_of_first_ = 0;
        }
    }
    read_some_.notify_all();
    return Read::kBytes;
}

}  // namespace sluice

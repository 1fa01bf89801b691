// The body of an answer that is made while it is sent: whoever makes it writes, the HTTP server
// reads. What lies between them is bounded; a writer is told that there is no room.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace sluice {

class BodyStream {
  public:
    // A piece may be the body of many.
    using Piece = std::shared_ptr<const std::string>;

    explicit BodyStream(size_t room_bytes) : room_bytes_(room_bytes) {}

    // For one writer. False if there is no room, and none within so long. A piece that is larger
    // than all the room is taken where nothing else waits; where nobody reads any more, any is.
    [[nodiscard]] bool write(Piece piece, int64_t timeout_ms = 0);
    // As write, but a reader that rests is left alone until it is woken.
    [[nodiscard]] bool write_quietly(Piece piece);
    void wake();
    // Nothing is written after this. Whoever reads the body sees that it is whole, or cut off.
    void end(bool whole);
    // Now, whatever the reader has not taken yet: it may never take it.
    void hang_up();
    // Written, and not taken by the reader yet.
    [[nodiscard]] size_t waiting_bytes() const;
    // Has left, or hung up.
    [[nodiscard]] bool reader_has_gone() const;

    // For the HTTP server, from its thread. rest is called where there is nothing to read yet, and
    // wake, from any thread, when there is again.
    void attach(int client_fd, std::function<void()> rest, std::function<void()> wake);
    void detach();
    enum class Read : uint8_t { kBytes, kNothingYet, kEnd, kCutOff };
    [[nodiscard]] Read read(char* out, size_t room, size_t* size);

  private:
    [[nodiscard]] bool has_room_for(const std::string& piece) const;
    void append(Piece piece);
    void wake_reader();

    const size_t room_bytes_;
    mutable std::mutex mutex_;  // of what follows
    std::condition_variable read_some_;
    std::deque<Piece> pieces_;
    size_t bytes_ = 0;
    size_t read_of_first_ = 0;
    bool ended_ = false;
    bool whole_ = false;
    bool resting_ = false;
    bool left_ = false;
    int client_fd_ = -1;
    std::function<void()> rest_;
    std::function<void()> wake_;
};

}  // namespace sluice

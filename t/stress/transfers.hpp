// Many requests of libcurl at once, by epoll: what a request costs does not grow with how many
// connections there are.
#pragma once

#include <cstdint>
#include <memory>

#include "t/stress/client.hpp"

namespace sluice::stress {

class Transfers {
  public:
    // Keeps so many connections, also while few of them are used.
    explicit Transfers(uint64_t connections);
    Transfers(const Transfers&) = delete;
    Transfers& operator=(const Transfers&) = delete;
    ~Transfers();

    // Begins with the next work(); the handle is the caller's again when ended() has told it.
    void begin(CURL* handle);
    // Waits until something happens on a connection, at most so long, and has libcurl act on it.
    void work(int wait_ms);
    // The next that came to an end; null if there is none.
    [[nodiscard]] CURL* ended(CURLcode* result);

  private:
    struct CloseMulti {
        void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
    };

    static int on_socket(CURL*, curl_socket_t socket, int what, void* transfers, void* watched);
    static int on_timer(CURLM*, long timeout_ms, void* transfers);
    void act(curl_socket_t socket, int events);

    int epoll_;
    int64_t act_at_us_;  // whatever happens on connections
    std::unique_ptr<CURLM, CloseMulti> multi_;
};

}  // namespace sluice::stress

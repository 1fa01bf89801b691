#include "t/stress/transfers.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <limits>
#include <new>
#include <system_error>

#include "daemon/clock.hpp"

namespace sluice::stress {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr size_t kEventsAtOnce = 256;

// Of a socket that is watched already libcurl says so with any pointer but null.
char watched_already;

}  // namespace

Transfers::Transfers(uint64_t connections)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), act_at_us_(kNever), multi_(curl_multi_init()) {
    if (epoll_ < 0) {
        throw std::system_error(errno, std::generic_category(), "epoll");
    }
    if (!multi_) {
        throw std::bad_alloc();
    }
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &on_socket);
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &on_timer);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
    // Without a number it is four for each request under way just then.
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(connections));
}

Transfers::~Transfers() {
    multi_.reset();  // it still takes its sockets from epoll
    close(epoll_);
}

void Transfers::begin(CURL* handle) {
    curl_multi_add_handle(multi_.get(), handle);
}

void Transfers::work(int wait_ms) {
    const int64_t left_ms = std::max<int64_t>(act_at_us_ - steady_us() + 999, 0) / 1000;
    std::array<epoll_event, kEventsAtOnce> events{};
    const int count = epoll_wait(epoll_, events.data(), kEventsAtOnce,
                                 static_cast<int>(std::min<int64_t>(wait_ms, left_ms)));
    for (int i = 0; i < count; ++i) {
        const uint32_t seen = events[static_cast<size_t>(i)].events;
        act(events[static_cast<size_t>(i)].data.fd,
            ((seen & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                ((seen & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                ((seen & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0));
    }
    if (act_at_us_ <= steady_us()) {
        act_at_us_ = kNever;
        act(CURL_SOCKET_TIMEOUT, 0);
    }
}

void Transfers::act(curl_socket_t socket, int events) {
    int running = 0;
    curl_multi_socket_action(multi_.get(), socket, events, &running);
}

CURL* Transfers::ended(CURLcode* result) {
    int left = 0;
    const CURLMsg* message = curl_multi_info_read(multi_.get(), &left);
    if (message == nullptr) {
        return nullptr;
    }
    CURL* handle = message->easy_handle;
    *result = message->data.result;
    curl_multi_remove_handle(multi_.get(), handle);
    return handle;
}

int Transfers::on_socket(CURL*, curl_socket_t socket, int what, void* transfers, void* watched) {
    auto* self = static_cast<Transfers*>(transfers);
    epoll_event event{};
    event.data.fd = socket;
    event.events = ((what & CURL_POLL_IN) != 0 ? static_cast<uint32_t>(EPOLLIN) : 0) |
                   ((what & CURL_POLL_OUT) != 0 ? static_cast<uint32_t>(EPOLLOUT) : 0);
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(self->epoll_, EPOLL_CTL_DEL, socket, nullptr);
        return 0;
    }
    const int action = watched == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(self->epoll_, action, socket, &event) != 0) {
        return -1;
    }
    curl_multi_assign(self->multi_.get(), socket, &watched_already);
    return 0;
}

int Transfers::on_timer(CURLM*, long timeout_ms, void* transfers) {
    static_cast<Transfers*>(transfers)->act_at_us_ =
        timeout_ms < 0 ? kNever : steady_us() + timeout_ms * 1000;
    return 0;
}

}  // namespace sluice::stress

// For scripts/bench tail, so that what is measured is the system and not the bench: many who watch
// a device each, on one thread, and few who send batches of records for all these devices.
//
//   sluice-watch watch PORT DEVICES
//       Says "open" when all watch; told on standard input how many records there are, it ends when
//       all were shown, or 20 s later.
//   sluice-watch send PORT DEVICES RATE SECONDS
//       So many records a second in all; 0: as fast as they are taken.
//
// A record's message is when it was sent, before its 200, so that what is measured is more than
// what is asked for. What came of it is told as JSON.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "daemon/clock.hpp"

namespace {

using sluice::steady_us;

constexpr int64_t kSecondUs = 1000000;
constexpr int64_t kPatienceUs = 20 * kSecondUs;
constexpr int kSenders = 4;
constexpr uint64_t kBatch = 25;
constexpr std::string_view kMessage = "\"message\":\"";

int connected(uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        throw std::runtime_error("cannot connect");
    }
    return fd;
}

void send_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        if (sent <= 0) {
            throw std::runtime_error("cannot send");
        }
        text.remove_prefix(static_cast<size_t>(sent));
    }
}

// Appends what comes next.
void receive_some(int fd, std::string* to) {
    char bytes[65536];
    const ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) {
        throw std::runtime_error("a connection ended");
    }
    to->append(bytes, static_cast<size_t>(got));
}

class Watchers {
  public:
    Watchers(uint16_t port, uint64_t count) : epoll_(epoll_create1(0)), clients_(count) {
        for (uint64_t i = 0; i < count; ++i) {
            // HTTP/1.0, so that nothing lies between events but events.
            const int fd = connected(port);
            send_all(fd, "GET /api/logs/stream?device_id=d" + std::to_string(i) +
                             " HTTP/1.0\r\nHost: here\r\n\r\n");
            receive_some(fd, &clients_[i].rest);
            if (clients_[i].rest.find(" 200 ") == std::string::npos) {
                throw std::runtime_error("not let in: " + clients_[i].rest);
            }
            clients_[i].fd = fd;
            watch(fd, i);
        }
        watch(STDIN_FILENO, count);
    }

    void run() {
        int64_t deadline = INT64_MAX;
        while (ways_us_.size() < expected_ && steady_us() < deadline) {
            epoll_event ready[64];
            const int count = epoll_wait(epoll_, ready, 64, 100);
            for (int i = 0; i < count; ++i) {
                if (ready[i].data.u64 == clients_.size()) {
                    expected_ = read_expected();
                    epoll_ctl(epoll_, EPOLL_CTL_DEL, STDIN_FILENO, nullptr);
                    deadline = steady_us() + kPatienceUs;
                } else {
                    take(&clients_[ready[i].data.u64]);
                }
            }
        }
        tell();
    }

  private:
    struct Client {
        int fd = -1;
        std::string rest;  // of an event, or of more than one
    };

    void watch(int fd, uint64_t number) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = number;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }

    static uint64_t read_expected() {
        unsigned long long expected = 0;
        if (scanf("%llu", &expected) != 1) {
            throw std::runtime_error("nobody says how many records there are");
        }
        return expected;
    }

    void take(Client* client) {
        receive_some(client->fd, &client->rest);
        const int64_t now = steady_us();
        std::string_view text = client->rest;
        for (size_t end; (end = text.find("\n\n")) != std::string_view::npos;) {
            const std::string_view event = text.substr(0, end);
            text.remove_prefix(end + 2);
            const size_t message = event.find(kMessage);
            if (message != std::string_view::npos) {
                const int64_t sent = atoll(event.data() + message + kMessage.size());
                ways_us_.push_back(now - sent);
            } else if (event.find("event:") != std::string_view::npos) {
                ++others_;
            }
        }
        client->rest.erase(0, client->rest.size() - text.size());
    }

    [[nodiscard]] double ms_of(double share) const {
        const auto last = static_cast<double>(ways_us_.size() - 1);
        return ways_us_.empty()
                   ? 0
                   : static_cast<double>(ways_us_[static_cast<size_t>(last * share)]) / 1000;
    }

    void tell() {
        std::sort(ways_us_.begin(), ways_us_.end());
        printf(R"({"shown": %zu, "gaps_and_drops": %llu, "p50_ms": %.1f, "p99_ms": %.1f,)"
               " \"max_ms\": %.1f}\n",
               ways_us_.size(), static_cast<unsigned long long>(others_), ms_of(0.5), ms_of(0.99),
               ms_of(1));
    }

    int epoll_;
    std::vector<Client> clients_;
    std::vector<int64_t> ways_us_;
    uint64_t others_ = 0;
    uint64_t expected_ = UINT64_MAX;
};

std::string body(uint64_t first, uint64_t devices) {
    const std::string now = std::to_string(steady_us());
    std::string text = "[";
    for (uint64_t i = first; i < first + kBatch; ++i) {
        text.append(i == first ? "" : ",").append(R"({"device_id":"d)");
        text.append(std::to_string(i * 7 % devices)).append(R"(","log_level":"INFO","message":")");
        text.append(now).append(R"(","log_data":{"text":")").append(100, 'x').append("\"}}");
    }
    return text + "]";
}

// Whether the next answer is a 200.
bool was_taken(int fd) {
    std::string answer;
    size_t head = std::string::npos;
    while ((head = answer.find("\r\n\r\n")) == std::string::npos) {
        receive_some(fd, &answer);
    }
    const size_t length = answer.find("Content-Length: ");
    if (length > head) {
        throw std::runtime_error("an answer without its length");
    }
    const size_t size = head + 4 + strtoull(answer.c_str() + length + 16, nullptr, 10);
    while (answer.size() < size) {
        receive_some(fd, &answer);
    }
    return answer.find(" 200 ") < head;
}

void send_batches(uint16_t port, uint64_t devices, double rate, int64_t until_us, uint64_t first,
                  std::atomic<uint64_t>* taken) {
    const int fd = connected(port);
    const int64_t begin = steady_us();
    for (uint64_t sent = 0; steady_us() < until_us; sent += kBatch) {
        const int64_t due =
            rate == 0 ? 0 : begin + static_cast<int64_t>(static_cast<double>(sent) * 1e6 / rate);
        const int64_t early = due - steady_us();
        if (early > 0) {
            usleep(static_cast<useconds_t>(early));
        }
        const std::string text = body(first + sent, devices);
        send_all(fd,
                 "POST /api/logs/batch HTTP/1.1\r\nHost: here\r\nContent-Type: application/json"
                 "\r\nContent-Length: " +
                     std::to_string(text.size()) + "\r\n\r\n" + text);
        *taken += was_taken(fd) ? kBatch : 0;
    }
    close(fd);
}

void send_records(uint16_t port, uint64_t devices, double rate, double seconds) {
    std::atomic<uint64_t> taken{0};
    const int64_t until = steady_us() + static_cast<int64_t>(seconds * 1e6);
    std::vector<std::thread> senders;
    for (int i = 0; i < kSenders; ++i) {
        senders.emplace_back(send_batches, port, devices, rate / kSenders, until,
                             static_cast<uint64_t>(i) * 1000003, &taken);
    }
    for (std::thread& sender : senders) {
        sender.join();
    }
    printf("{\"taken\": %llu}\n", static_cast<unsigned long long>(taken.load()));
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc > 3 ? argv[1] : "";
    const auto port = static_cast<uint16_t>(argc > 3 ? atoi(argv[2]) : 0);
    const uint64_t devices = argc > 3 ? strtoull(argv[3], nullptr, 10) : 0;
    try {
        if (what == "watch" && argc == 4) {
            Watchers watchers(port, devices);
            puts("open");
            fflush(stdout);
            watchers.run();
            return 0;
        }
        if (what == "send" && argc == 6) {
            send_records(port, devices, atof(argv[4]), atof(argv[5]));
            return 0;
        }
        fprintf(stderr, "sluice-watch watch PORT DEVICES | send PORT DEVICES RATE SECONDS\n");
    } catch (const std::exception& error) {
        fprintf(stderr, "error: %s\n", error.what());
    }
    return 1;
}

// HTTP over libmicrohttpd: one thread for all connections. A request's connection rests until the
// request is answered, by the handler at once or by any thread later. Knows nothing of what is
// asked.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "daemon/log.hpp"
#include "daemon/serve/body_stream.hpp"

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;

namespace sluice {

struct HttpResponse {
    int status = 200;
    std::string body;
    const char* content_type = "application/json";
    const char* cache_control = "no-store";
    std::string etag;       // empty: none
    int retry_after_s = 0;  // 0: no such header
    const char* allow = nullptr;
    const char* file_name = nullptr;     // that a browser keeps it as
    std::shared_ptr<BodyStream> stream;  // in place of body: it is made while it is sent
};

// One request on its way. Lives until its answer is sent.
class Exchange {
  public:
    // As it came, undecoded.
    [[nodiscard]] std::string_view target() const noexcept { return target_; }
    [[nodiscard]] std::string_view path() const noexcept;  // up to the '?'
    // Of a header that came with it; empty: none. Only within the handler.
    [[nodiscard]] std::string_view header(const char* name) const noexcept;
    // The socket of who asks. Nothing is read from it until the answer, so that a hangup shows.
    [[nodiscard]] int client_fd() const noexcept;
    [[nodiscard]] bool client_has_gone() const noexcept;

    // Once it is over; 0 if its client had left before the answer.
    [[nodiscard]] int status() const noexcept { return responded_ ? response_->status : 0; }
    [[nodiscard]] int64_t took_us() const noexcept;
    [[nodiscard]] bool is_stream() const noexcept { return response_ && response_->stream; }

    // Call it once, within the handler or later from any thread; not to be touched afterwards. A
    // response may be that of many.
    void answer(std::shared_ptr<const HttpResponse> response);
    void answer(HttpResponse response);

  private:
    friend class HttpServer;
    friend struct HttpCallbacks;
    std::string target_;
    MHD_Connection* connection_ = nullptr;
    bool handled_ = false;
    bool seen_ = false;
    bool head_ = false;
    bool responded_ = false;
    int64_t began_at_us_ = 0;
    std::shared_ptr<const HttpResponse> response_;
};

class HttpServer {
  public:
    // Called for GET and HEAD; other methods are answered by the server. Whatever it does with the
    // exchange, somebody must answer it. Must not throw.
    using Handler = std::function<void(Exchange*)>;
    // Told of each exchange when it is over, on the thread that the handler is called on.
    using Over = std::function<void(const Exchange&)>;

    explicit HttpServer(Handler handler, Over over = {})
        : handler_(std::move(handler)), over_(std::move(over)) {}
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    // Before it starts: so many connections may be open for long, besides all others.
    void make_room(unsigned connections) noexcept { long_connections_ = connections; }

    // "unix:/path" or "host:port"; throws std::runtime_error with what is wrong.
    void start(const std::string& listen);
    // On a socket that is another server's next. Whoever connects when this one is quiet waits in
    // it.
    void start_handed(int listen_fd);

    // No new connections from here on; each answer closes its connection. The socket's file stays:
    // the next server replaces it, and meanwhile connecting is refused, which is what it is.
    void quiesce();
    // What still comes is answered with 503 without the handler being asked.
    void refuse() noexcept { refusing_ = true; }
    // To be asked by the handler.
    [[nodiscard]] unsigned open_connections() const noexcept;
    [[nodiscard]] int open_exchanges() const noexcept { return open_exchanges_.load(); }
    // The server must be refusing, and every exchange have been answered: none may rest.
    void stop();

  private:
    friend struct HttpCallbacks;
    void start_on(int listen_fd);
    void handle(Exchange* exchange);
    bool respond(Exchange* exchange);
    [[nodiscard]] MHD_Response* make_response(Exchange* exchange) const;

    Handler handler_;
    Over over_;
    MHD_Daemon* daemon_ = nullptr;
    int listen_fd_ = -1;
    unsigned long_connections_ = 0;
    bool handed_ = false;
    std::mutex log_mutex_;
    LogLimit log_limit_{1000 * 1000};
    std::atomic<int> open_exchanges_{0};
    std::atomic<bool> quiet_{false};
    std::atomic<bool> refusing_{false};
};

}  // namespace sluice

#include "daemon/serve/http_server.hpp"

#include <microhttpd.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/pulse.hpp"
#include "daemon/serve/listen_socket.hpp"
#include "daemon/serve/problems.hpp"

namespace sluice {
namespace {

constexpr unsigned kConnectionsMax = 1000;  // of short requests
constexpr unsigned kIdleTimeoutS = 60;
constexpr size_t kStreamBlockBytes = 16384;

std::shared_ptr<const HttpResponse> only_get_and_head() {
    HttpResponse response =
        problem_response({405, "method_not_allowed", "Only GET and HEAD are answered here."});
    response.allow = "GET, HEAD";
    return std::make_shared<const HttpResponse>(std::move(response));
}

}  // namespace

// libmicrohttpd's side of things: C functions, which no exception may leave.
struct HttpCallbacks {
    // The one place where the target is seen as it came.
    static void* begin(void* self, const char* target, MHD_Connection* connection) noexcept {
        auto exchange = std::make_unique<Exchange>();
        exchange->target_ = target;
        exchange->connection_ = connection;
        exchange->began_at_us_ = steady_us();
        static_cast<HttpServer*>(self)->open_exchanges_.fetch_add(1);
        return exchange.release();
    }

    static void end(void* self, MHD_Connection*, void** context,
                    MHD_RequestTerminationCode) noexcept {
        const std::unique_ptr<Exchange> exchange(static_cast<Exchange*>(*context));
        *context = nullptr;
        if (exchange) {
            if (exchange->is_stream()) {
                exchange->response_->stream->detach();
            }
            auto* server = static_cast<HttpServer*>(self);
            if (server->over_) {
                server->over_(*exchange);
            }
            server->open_exchanges_.fetch_sub(1);
        }
    }

    // Called when the head is there, for each piece of a body, at the end of the request, and when
    // a resting connection is woken.
    static MHD_Result access(void* self, MHD_Connection*, const char*, const char* method,
                             const char*, const char*, size_t* upload_bytes,
                             void** context) noexcept {
        auto* server = static_cast<HttpServer*>(self);
        auto* exchange = static_cast<Exchange*>(*context);
        if (!exchange->seen_) {
            exchange->seen_ = true;
            return MHD_YES;
        }
        if (*upload_bytes != 0) {
            *upload_bytes = 0;
            return MHD_YES;
        }
        if (!exchange->handled_) {
            exchange->handled_ = true;
            exchange->head_ = strcmp(method, "HEAD") == 0;
            if (!exchange->head_ && strcmp(method, "GET") != 0) {
                exchange->response_ = only_get_and_head();
            } else if (server->refusing_ && server->handed_) {
                // Closed without an answer: the next server gives it, on another connection.
                return MHD_NO;
            } else if (server->refusing_) {
                exchange->response_ = std::make_shared<HttpResponse>(
                    unavailable("server_unavailable", "The server is stopping."));
            } else {
                // Resting before the handler runs: whoever answers may do so at once.
                MHD_suspend_connection(exchange->connection_);
                server->handle(exchange);
                return MHD_YES;
            }
        }
        return server->respond(exchange) ? MHD_YES : MHD_NO;
    }

    static ssize_t read_stream(void* self, uint64_t, char* out, size_t room) noexcept {
        size_t size = 0;
        switch (static_cast<Exchange*>(self)->response_->stream->read(out, room, &size)) {
            case BodyStream::Read::kBytes:
                return static_cast<ssize_t>(size);
            case BodyStream::Read::kNothingYet:
                return 0;
            case BodyStream::Read::kEnd:
                return MHD_CONTENT_READER_END_OF_STREAM;
            case BodyStream::Read::kCutOff:
                break;
        }
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }

    static void release(void* response) noexcept {
        delete static_cast<std::shared_ptr<const HttpResponse>*>(response);
    }

    // From any thread. Too many open files, for one, would be said each time somebody connects.
    static void log(void* self, const char* format, va_list arguments) noexcept {
        char text[256];
        vsnprintf(text, sizeof text, format, arguments);
        text[strcspn(text, "\n")] = 0;
        auto* server = static_cast<HttpServer*>(self);
        uint64_t left_out = 0;
        const std::lock_guard<std::mutex> lock(server->log_mutex_);
        if (server->log_limit_.allow(steady_us(), &left_out)) {
            log_warn("http").with("error", text).with("left_out", left_out);
        }
    }

    static size_t leave_escaped(void*, MHD_Connection*, char* text) noexcept {
        return strlen(text);
    }
};

std::string_view Exchange::path() const noexcept {
    return std::string_view(target_).substr(0, target_.find('?'));
}

std::string_view Exchange::header(const char* name) const noexcept {
    const char* const value = MHD_lookup_connection_value(connection_, MHD_HEADER_KIND, name);
    return value == nullptr ? std::string_view() : value;
}

int Exchange::client_fd() const noexcept {
    const MHD_ConnectionInfo* info =
        MHD_get_connection_info(connection_, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info == nullptr ? -1 : info->connect_fd;
}

bool Exchange::client_has_gone() const noexcept {
    pollfd client = {client_fd(), POLLRDHUP, 0};
    return poll(&client, 1, 0) > 0;
}

int64_t Exchange::took_us() const noexcept {
    return steady_us() - began_at_us_;
}

void Exchange::answer(HttpResponse response) {
    answer(std::make_shared<const HttpResponse>(std::move(response)));
}

void Exchange::answer(std::shared_ptr<const HttpResponse> response) {
    response_ = std::move(response);
    MHD_resume_connection(connection_);
}

HttpServer::~HttpServer() {
    stop();
}

void HttpServer::start(const std::string& listen) {
    start_on(open_listen_socket(listen));
}

void HttpServer::start_handed(int listen_fd) {
    handed_ = true;
    start_on(listen_fd);
}

void HttpServer::start_on(int listen_fd) {
    listen_fd_ = listen_fd;
    daemon_ = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, nullptr,
        nullptr, &HttpCallbacks::access, this, MHD_OPTION_EXTERNAL_LOGGER, &HttpCallbacks::log,
        this, MHD_OPTION_LISTEN_SOCKET, listen_fd_, MHD_OPTION_URI_LOG_CALLBACK,
        &HttpCallbacks::begin, this, MHD_OPTION_NOTIFY_COMPLETED, &HttpCallbacks::end, this,
        MHD_OPTION_UNESCAPE_CALLBACK, &HttpCallbacks::leave_escaped, nullptr,
        MHD_OPTION_CONNECTION_LIMIT, kConnectionsMax + long_connections_,
        MHD_OPTION_CONNECTION_TIMEOUT, kIdleTimeoutS, MHD_OPTION_END);
    if (daemon_ == nullptr) {
        throw std::runtime_error("the HTTP server does not start");
    }
}

// Its thread is libmicrohttpd's, and known to be ours only here.
void HttpServer::handle(Exchange* exchange) {
    static thread_local bool watched = false;
    if (!watched) {
        pulse_as("http");
        watched = true;
    }
    pulse();
    handler_(exchange);
    pulse_rest();
}

MHD_Response* HttpServer::make_response(Exchange* exchange) const {
    const HttpResponse& answer = *exchange->response_;
    if (!answer.stream) {
        // The body stays where it is: it may be large, and that of many.
        auto* kept = new std::shared_ptr<const HttpResponse>(exchange->response_);
        MHD_Response* response = MHD_create_response_from_buffer_with_free_callback_cls(
            answer.body.size(), const_cast<char*>(answer.body.data()), &HttpCallbacks::release,
            kept);
        if (response == nullptr) {
            HttpCallbacks::release(kept);
        }
        return response;
    }
    if (exchange->head_) {
        // libmicrohttpd would write the last chunk of a body that there is none of.
        answer.stream->detach();
        return MHD_create_response_from_buffer(0, nullptr, MHD_RESPMEM_PERSISTENT);
    }
    MHD_Connection* connection = exchange->connection_;
    answer.stream->attach(
        exchange->client_fd(), [connection] { MHD_suspend_connection(connection); },
        [connection] { MHD_resume_connection(connection); });
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, kStreamBlockBytes,
                                             &HttpCallbacks::read_stream, exchange, nullptr);
}

bool HttpServer::respond(Exchange* exchange) {
    const HttpResponse& answer = *exchange->response_;
    MHD_Response* response = make_response(exchange);
    if (response == nullptr) {
        return false;
    }
    MHD_add_response_header(response, "Content-Type", answer.content_type);
    MHD_add_response_header(response, "Cache-Control", answer.cache_control);
    if (!answer.etag.empty()) {
        MHD_add_response_header(response, "ETag", answer.etag.c_str());
    }
    if (answer.retry_after_s != 0) {
        MHD_add_response_header(response, "Retry-After",
                                std::to_string(answer.retry_after_s).c_str());
    }
    if (answer.allow != nullptr) {
        MHD_add_response_header(response, "Allow", answer.allow);
    }
    if (answer.file_name != nullptr) {
        const std::string disposition =
            "attachment; filename=\"" + std::string(answer.file_name) + "\"";
        MHD_add_response_header(response, "Content-Disposition", disposition.c_str());
    }
    if (answer.stream) {
        // nginx passes it on as it comes.
        MHD_add_response_header(response, "X-Accel-Buffering", "no");
    }
    if (quiet_) {
        MHD_add_response_header(response, "Connection", "close");
    }
    exchange->responded_ = true;
    const MHD_Result queued =
        MHD_queue_response(exchange->connection_, static_cast<unsigned>(answer.status), response);
    MHD_destroy_response(response);
    return queued == MHD_YES;
}

unsigned HttpServer::open_connections() const noexcept {
    const MHD_DaemonInfo* info = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info == nullptr ? 0 : info->num_connections;
}

void HttpServer::quiesce() {
    if (daemon_ != nullptr && !quiet_.exchange(true)) {
        MHD_quiesce_daemon(daemon_);
        // It only accepts no more. Without this, clients would wait in the kernel's queue until the
        // socket is closed, which it must not be before the daemon has stopped. In a socket that
        // the next server will have they are to wait.
        if (!handed_) {
            shutdown(listen_fd_, SHUT_RDWR);
        }
    }
}

void HttpServer::stop() {
    quiesce();
    if (daemon_ != nullptr) {
        MHD_stop_daemon(daemon_);
        daemon_ = nullptr;
        close(listen_fd_);
    }
}

}  // namespace sluice

// The HTTP server while it stops: what still comes is answered, and closes its connection; and
// bodies that are made while they are sent. Over a socket of its own, since what is tested is who
// answers whom.
#include "daemon/serve/http_server.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

constexpr timeval kPatience{10, 0};
constexpr std::string_view kRequest = "GET /anything HTTP/1.1\r\nHost: x\r\n\r\n";

// A server of which each request rests until the test answers it.
class Fixture {
  public:
    Fixture() : server([this](Exchange* exchange) { resting = exchange; }) {
        assert_non_null(mkdtemp(folder_));
        path_ = std::string(folder_) + "/http.sock";
        server.start("unix:" + path_);
    }
    ~Fixture() {
        server.stop();
        unlink(path_.c_str());
        rmdir(folder_);
    }
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }

    // Waits until the request of the client rests, and answers it.
    void answer(std::shared_ptr<BodyStream> stream = nullptr) {
        Exchange* exchange = nullptr;
        while ((exchange = resting.exchange(nullptr)) == nullptr) {
            usleep(100);
        }
        HttpResponse response;
        response.body = "{}";
        response.stream = std::move(stream);
        exchange->answer(std::move(response));
    }

    std::atomic<Exchange*> resting{nullptr};
    HttpServer server;

  private:
    char folder_[32] = "/tmp/sluice-http-XXXXXX";
    std::string path_;
};

class Client {
  public:
    explicit Client(const Fixture& fixture) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path, fixture.path().data(), fixture.path().size());
        assert_return_code(setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience),
                           errno);
        assert_return_code(
            connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), errno);
    }
    ~Client() { close(fd_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void ask() {
        assert_int_equal(send(fd_, kRequest.data(), kRequest.size(), MSG_NOSIGNAL),
                         kRequest.size());
    }

    // All that comes until the text has been in it, or until the end.
    std::string read_until(std::string_view text) {
        std::string all;
        char piece[4096];
        while (all.find(text) == std::string::npos) {
            const ssize_t bytes = recv(fd_, piece, sizeof piece, 0);
            assert_return_code(bytes, errno);
            if (bytes == 0) {
                break;
            }
            all.append(piece, static_cast<size_t>(bytes));
        }
        return all;
    }
    std::string read_to_end() { return read_until("what never comes"); }

  private:
    int fd_;
};

void assert_holds(const std::string& text, const char* part) {
    if (text.find(part) == std::string::npos) {
        fail_msg("\"%s\" is not in \"%s\"", part, text.c_str());
    }
}

void what_rests_when_it_stops_is_answered(void**) {
    Fixture fixture;
    Client client(fixture);
    client.ask();
    while (fixture.resting == nullptr) {
        usleep(100);
    }
    fixture.server.quiesce();
    assert_int_equal(fixture.server.open_exchanges(), 1);
    fixture.answer();
    const std::string answer = client.read_to_end();
    assert_holds(answer, "HTTP/1.1 200 ");
    assert_holds(answer, "Connection: close\r\n");
    assert_holds(answer, "{}");
}

void what_comes_at_the_very_end_is_refused_unasked(void**) {
    Fixture fixture;
    Client client(fixture);
    client.ask();
    fixture.answer();
    assert_holds(client.read_until("{}"), "HTTP/1.1 200 ");
    fixture.server.quiesce();
    fixture.server.refuse();
    client.ask();
    const std::string answer = client.read_to_end();
    assert_holds(answer, "HTTP/1.1 503 ");
    assert_holds(answer, "Retry-After: 1\r\n");
    assert_holds(answer, "Connection: close\r\n");
    assert_holds(answer, "Content-Type: application/problem+json\r\n");
    assert_holds(answer, "\"code\":\"server_unavailable\"");
    assert_null(fixture.resting.load());
}

BodyStream::Piece piece(std::string text) {
    return std::make_shared<const std::string>(std::move(text));
}

void assert_all_is_over(const Fixture& fixture) {
    while (fixture.server.open_exchanges() != 0) {
        usleep(100);
    }
}

void a_body_is_sent_while_it_is_made(void**) {
    Fixture fixture;
    Client client(fixture);
    auto stream = std::make_shared<BodyStream>(1000);
    client.ask();
    fixture.answer(stream);
    assert_holds(client.read_until("\r\n\r\n"), "Transfer-Encoding: chunked\r\n");
    for (const char* text : {"one\n", "two\n", "three\n"}) {
        assert_true(stream->write(piece(text)));
        assert_holds(client.read_until(text), text);
    }
    assert_true(stream->write(piece("four\n")));
    stream->end(true);
    assert_holds(client.read_until("0\r\n\r\n"), "four\n");
    assert_all_is_over(fixture);
    // The connection is good for more.
    client.ask();
    fixture.answer();
    assert_holds(client.read_until("{}"), "HTTP/1.1 200 ");
}

void a_body_that_cannot_be_finished_is_cut_off(void**) {
    Fixture fixture;
    Client client(fixture);
    auto stream = std::make_shared<BodyStream>(1000);
    client.ask();
    fixture.answer(stream);
    assert_true(stream->write(piece("one\n")));
    assert_holds(client.read_until("one\n"), "200");
    stream->end(false);
    assert_true(client.read_to_end().find("0\r\n\r\n") == std::string::npos);
    assert_all_is_over(fixture);
}

void who_writes_more_than_is_read_is_told(void**) {
    Fixture fixture;
    Client client(fixture);
    auto stream = std::make_shared<BodyStream>(100000);
    client.ask();
    fixture.answer(stream);
    // The kernel's buffers take some.
    const std::string text(50000, 'x');
    int written = 0;
    while (stream->write(piece(text), 200)) {
        assert_true(++written < 1000);
    }
    assert_false(stream->reader_has_gone());
    stream->end(true);
    std::string all = client.read_until("0\r\n\r\n");
    assert_int_equal(std::count(all.begin(), all.end(), 'x'), text.size() * written);
    assert_all_is_over(fixture);
}

void who_takes_nothing_can_be_hung_up_on(void**) {
    Fixture fixture;
    Client client(fixture);
    auto stream = std::make_shared<BodyStream>(100000);
    client.ask();
    fixture.answer(stream);
    while (stream->write(piece(std::string(50000, 'x')), 200)) {
    }
    stream->hang_up();
    assert_all_is_over(fixture);
    assert_true(stream->reader_has_gone());
    assert_true(client.read_to_end().find("0\r\n\r\n") == std::string::npos);
}

void a_piece_larger_than_the_room_goes_alone(void**) {
    BodyStream stream(10);
    assert_true(stream.write(piece(std::string(50, 'x'))));
    assert_false(stream.write(piece("y")));
    char out[100];
    size_t size = 0;
    assert_true(stream.read(out, sizeof out, &size) == BodyStream::Read::kBytes);
    assert_int_equal(size, 50);
    assert_true(stream.write(piece("y")));
}

void a_client_that_hangs_up_is_noticed(void**) {
    Fixture fixture;
    auto stream = std::make_shared<BodyStream>(1000);
    {
        Client client(fixture);
        client.ask();
        fixture.answer(stream);
        assert_true(stream->write(piece("one\n")));
        assert_holds(client.read_until("one\n"), "200");
        assert_false(stream->reader_has_gone());
    }
    while (!stream->reader_has_gone()) {
        usleep(100);
    }
    // Each write finds out a little more, until nobody is written to at all.
    while (fixture.server.open_exchanges() != 0) {
        assert_true(stream->write(piece("two\n")));
        usleep(1000);
    }
    assert_true(stream->write(piece(std::string(5000, 'x'))));
    stream->end(true);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_rests_when_it_stops_is_answered),
        cmocka_unit_test(what_comes_at_the_very_end_is_refused_unasked),
        cmocka_unit_test(a_body_is_sent_while_it_is_made),
        cmocka_unit_test(a_body_that_cannot_be_finished_is_cut_off),
        cmocka_unit_test(who_writes_more_than_is_read_is_told),
        cmocka_unit_test(who_takes_nothing_can_be_hung_up_on),
        cmocka_unit_test(a_piece_larger_than_the_room_goes_alone),
        cmocka_unit_test(a_client_that_hangs_up_is_noticed),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// Sockets that are listened on, as one process after the other takes their place.
#include "daemon/serve/listen_socket.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

constexpr size_t kPathBytesMax = sizeof sockaddr_un{}.sun_path - 1;

class Folder {
  public:
    Folder() { assert_non_null(mkdtemp(name_)); }
    ~Folder() {
        unlink(socket().c_str());
        assert_int_equal(rmdir(name_), 0);  // so nothing else is left there
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    // As long as a path may be.
    [[nodiscard]] std::string socket() const {
        const std::string path = std::string(name_) + "/";
        return path + std::string(kPathBytesMax - path.size(), 's');
    }

  private:
    char name_[32] = "/tmp/sluice-listen-XXXXXX";
};

// 0, or why it failed; EAGAIN if too many are waiting there already.
int connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.data(), path.size());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool connected =
        connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    const int error = connected ? 0 : errno;
    close(fd);
    return error;
}

// Whoever connects finds the old one, which nobody listens on any more, or the new one: a path
// without any socket would be a [crit] in nginx' log.
void a_socket_takes_the_place_of_one_that_was_left(void**) {
    const Folder folder;
    const std::string path = folder.socket();
    close(open_listen_socket("unix:" + path));
    assert_int_equal(connect_to(path), ECONNREFUSED);
    std::atomic<bool> over{false};
    std::atomic<int> missing{0};
    std::thread client([&] {
        while (!over) {
            missing += connect_to(path) == ENOENT ? 1 : 0;
        }
    });
    for (int i = 0; i < 2000; ++i) {
        close(open_listen_socket("unix:" + path));
    }
    over = true;
    client.join();
    assert_int_equal(missing, 0);
}

void a_socket_that_is_listened_on_is_left_alone(void**) {
    const Folder folder;
    const int fd = open_listen_socket("unix:" + folder.socket());
    try {
        close(open_listen_socket("unix:" + folder.socket()));
        fail_msg("two listen there");
    } catch (const std::runtime_error& error) {
        assert_non_null(strstr(error.what(), "another one listens there"));
    }
    assert_int_equal(connect_to(folder.socket()), 0);
    close(fd);
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_socket_takes_the_place_of_one_that_was_left),
        cmocka_unit_test(a_socket_that_is_listened_on_is_left_alone),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

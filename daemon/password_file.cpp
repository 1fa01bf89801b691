#include "daemon/password_file.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>

namespace sluice {

bool read_password_file(const std::string& path, std::string* password, std::string* error) {
    password->clear();
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    std::getline(file, *password);
    if (!password->empty() && password->back() == '\r') {
        password->pop_back();
    }
    if (password->empty()) {
        *error = path + ": " + (errno == 0 ? "its first line is empty" : strerror(errno));
    }
    return !password->empty();
}

}  // namespace sluice

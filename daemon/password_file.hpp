// A file whose first line is a password: so that it stands neither in settings nor in ps.
#pragma once

#include <string>

namespace sluice {

// It is read anew each time, as passwords change. If there is none *error says "PATH: why not".
[[nodiscard]] bool read_password_file(const std::string& path, std::string* password,
                                      std::string* error);

}  // namespace sluice

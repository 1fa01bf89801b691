// Whether libpq can read a connection string. No connection is made.
#pragma once

#include <string>

namespace sluice {

// What is wrong with it, without any of its values; empty if it is right.
[[nodiscard]] std::string judge_dsn(const std::string& dsn);

}  // namespace sluice

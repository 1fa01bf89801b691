// Whether libpq can read a connection string. No connection is made.
#pragma once

#include <string>

namespace sluice {

// Not key=value nor a URI: then it is the name of a database.
[[nodiscard]] bool is_database_name(const std::string& dsn);

// What is wrong with it, without any of its values; empty if it is right.
[[nodiscard]] std::string judge_dsn(const std::string& dsn);

}  // namespace sluice

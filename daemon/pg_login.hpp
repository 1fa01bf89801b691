// Whom a part of sluiced logs in to Postgres as: what all of them share, and what is its own.
#pragma once

#include <map>
#include <string>

#include "daemon/settings.hpp"

namespace sluice {

// Each has what rights its part needs, and no others (pg_rights).
enum class PgUser : uint8_t {
    kLoader,    // sluiced load, status, check
    kReader,    // sluiced serve
    kMigrator,  // owns the tables: sluiced migrate, import, dead-letters
};

struct PgLogin {
    std::string dsn;
    std::string own_dsn;  // wins over dsn, keyword by keyword
    std::string password_file;
    bool writes = true;  // so that of several servers it must be the primary
};

[[nodiscard]] PgLogin pg_login_of(const Settings& settings, PgUser user);

// libpq's keywords and their values.
using PgParameters = std::map<std::string, std::string>;

// False if the password cannot be read, or a string is none of libpq's; *error says which, and
// holds none of what is in them.
[[nodiscard]] bool read_login(const PgLogin& login, PgParameters* parameters, std::string* error);

}  // namespace sluice

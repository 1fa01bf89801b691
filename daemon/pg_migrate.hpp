// The database's schema: the numbered files of sql/, which are inside the binary.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/pg_connection.hpp"

namespace sluice {

struct Migration {
    int version;
    std::string_view name;
    std::string_view sql;
};

// In ascending order; generated from sql/NNN_name.sql at build time.
[[nodiscard]] const std::vector<Migration>& migrations();

// Applies what is missing, each in a transaction of its own, then grants the rights (pg_rights);
// whoever comes at the same time waits. *roles_missing: for them to be granted.
[[nodiscard]] bool migrate(PgConnection* connection, std::vector<std::string>* roles_missing);

// Whether every migration of this binary was applied. A newer schema is taken for compatible.
// False with error() unset means that migrations are missing.
[[nodiscard]] bool schema_is_current(PgConnection* connection);

}  // namespace sluice

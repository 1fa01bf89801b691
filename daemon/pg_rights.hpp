// Who may do what in the database: the rights of the roles sluice_loader and sluice_reader. The
// tables belong to whoever migrates, which is sluice_migrator where conf/roles.sql made the roles.
#pragma once

#include <string>
#include <vector>

#include "daemon/pg_connection.hpp"

namespace sluice {

// Within a transaction of the tables' owner: makes the two roles, without a login, if it may, and
// grants each what it lacks. What they have besides is not taken away. *missing: roles that are not
// there, and could not be made.
[[nodiscard]] bool grant_rights(PgConnection* connection, std::vector<std::string>* missing);

// What a role lacks, as it is granted ("INSERT ON logs"), and what it has besides, in words.
struct RightsJudgement {
    std::string role;
    std::vector<std::string> missing;
    std::vector<std::string> excess;
    bool owns = false;  // or is a superuser: then it may do everything, and excess says so
};

// Of whom the connection belongs to, as the loader or as the reader.
[[nodiscard]] bool judge_rights(PgConnection* connection, PgUser user, RightsJudgement* judgement);

}  // namespace sluice

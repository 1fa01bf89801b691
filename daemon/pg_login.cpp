#include "daemon/pg_login.hpp"

#include <libpq-fe.h>

#include <memory>

#include "daemon/password_file.hpp"
#include "daemon/pg_dsn.hpp"

namespace sluice {
namespace {

// Adds what stands in the string, over what there was.
void overlay(const std::string& dsn, PgParameters* parameters) {
    if (is_database_name(dsn)) {
        (*parameters)["dbname"] = dsn;
        return;
    }
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
        PQconninfoParse(dsn.c_str(), nullptr), &PQconninfoFree);
    for (const PQconninfoOption* option = options.get();
         option != nullptr && option->keyword != nullptr; ++option) {
        if (option->val != nullptr) {
            (*parameters)[option->keyword] = option->val;
        }
    }
}

bool has_several(const PgParameters& parameters, const char* keyword) {
    const auto found = parameters.find(keyword);
    return found != parameters.end() && found->second.find(',') != std::string::npos;
}

}  // namespace

PgLogin pg_login_of(const Settings& settings, PgUser user) {
    PgLogin login;
    login.dsn = settings.postgres_dsn;
    switch (user) {
        case PgUser::kLoader:
            login.own_dsn = settings.postgres_loader_dsn;
            login.password_file = settings.postgres_loader_password_file;
            break;
        case PgUser::kReader:
            login.own_dsn = settings.postgres_reader_dsn;
            login.password_file = settings.postgres_reader_password_file;
            login.writes = false;
            break;
        case PgUser::kMigrator:
            login.own_dsn = settings.postgres_migrator_dsn;
            login.password_file = settings.postgres_migrator_password_file;
            break;
    }
    if (login.password_file.empty()) {
        login.password_file = settings.postgres_password_file;
    }
    return login;
}

bool read_login(const PgLogin& login, PgParameters* parameters, std::string* error) {
    for (const std::string* dsn : {&login.dsn, &login.own_dsn}) {
        *error = judge_dsn(*dsn);
        if (!error->empty()) {
            return false;
        }
        overlay(*dsn, parameters);
    }
    std::string why;
    if (!login.password_file.empty() &&
        !read_password_file(login.password_file, &(*parameters)["password"], &why)) {
        *error = "cannot read the password file " + why;
        return false;
    }
    if (login.writes &&
        (has_several(*parameters, "host") || has_several(*parameters, "hostaddr"))) {
        parameters->emplace("target_session_attrs", "read-write");
    }
    return true;
}

}  // namespace sluice

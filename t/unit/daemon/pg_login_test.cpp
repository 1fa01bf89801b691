// Whom each part logs in to Postgres as, by its settings.
#include "daemon/pg_login.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

PgParameters read(const Settings& settings, PgUser user) {
    PgParameters parameters;
    std::string error;
    if (!read_login(pg_login_of(settings, user), &parameters, &error)) {
        fail_msg("%s", error.c_str());
    }
    return parameters;
}

std::string refusal(const Settings& settings) {
    PgParameters parameters;
    std::string error;
    assert_false(read_login(pg_login_of(settings, PgUser::kLoader), &parameters, &error));
    return error;
}

class TemporaryFile {
  public:
    explicit TemporaryFile(const char* text) {
        const int fd = mkstemp(path_);
        assert_true(write(fd, text, strlen(text)) == static_cast<ssize_t>(strlen(text)));
        close(fd);
    }
    ~TemporaryFile() { unlink(path_); }
    [[nodiscard]] const char* path() const { return path_; }

  private:
    char path_[32] = "/tmp/sluice-password-XXXXXX";
};

void all_share_what_is_said_once(void**) {
    Settings settings;
    settings.postgres_dsn = "host=db dbname=logs user=app";
    for (const PgUser user : {PgUser::kLoader, PgUser::kReader, PgUser::kMigrator}) {
        const PgParameters expected = {{"host", "db"}, {"dbname", "logs"}, {"user", "app"}};
        assert_true(read(settings, user) == expected);
    }
}

void what_is_its_own_wins(void**) {
    Settings settings;
    settings.postgres_dsn = "postgresql://app:x@db:5433/logs?sslmode=require";
    settings.postgres_loader_dsn = "user=loader";
    settings.postgres_reader_dsn = "user=reader host=standby password='two words'";
    settings.postgres_migrator_dsn = "postgresql://migrator@/";
    assert_string_equal(read(settings, PgUser::kLoader)["user"].c_str(), "loader");
    assert_string_equal(read(settings, PgUser::kLoader)["port"].c_str(), "5433");
    PgParameters reader = read(settings, PgUser::kReader);
    assert_string_equal(reader["host"].c_str(), "standby");
    assert_string_equal(reader["password"].c_str(), "two words");
    assert_string_equal(reader["sslmode"].c_str(), "require");
    assert_string_equal(read(settings, PgUser::kMigrator)["user"].c_str(), "migrator");
    assert_string_equal(read(settings, PgUser::kMigrator)["dbname"].c_str(), "logs");
}

void a_word_is_a_database(void**) {
    Settings settings;
    settings.postgres_dsn = "logs";
    settings.postgres_loader_dsn = "user=a";
    assert_string_equal(read(settings, PgUser::kLoader)["dbname"].c_str(), "logs");
    settings.postgres_dsn = "";
    assert_int_equal(read(settings, PgUser::kReader).size(), 0);
}

void passwords_come_from_the_nearest_file(void**) {
    const TemporaryFile shared("shared\n");
    const TemporaryFile own("the loader's \r\nsecond line\n");
    Settings settings;
    settings.postgres_dsn = "password=none";
    settings.postgres_password_file = shared.path();
    settings.postgres_loader_password_file = own.path();
    assert_string_equal(read(settings, PgUser::kLoader)["password"].c_str(), "the loader's ");
    assert_string_equal(read(settings, PgUser::kReader)["password"].c_str(), "shared");
    settings.postgres_loader_password_file = "/nowhere/password";
    assert_string_equal(
        refusal(settings).c_str(),
        "cannot read the password file /nowhere/password: No such file or directory");
    const TemporaryFile empty("");
    settings.postgres_loader_password_file = empty.path();
    assert_non_null(strstr(refusal(settings).c_str(), "its first line is empty"));
}

void of_several_hosts_who_writes_wants_the_primary(void**) {
    const auto attributes = [](const Settings& settings, PgUser user) {
        return read(settings, user)["target_session_attrs"];
    };
    Settings settings;
    settings.postgres_dsn = "host=a,b";
    assert_string_equal(attributes(settings, PgUser::kLoader).c_str(), "read-write");
    assert_string_equal(attributes(settings, PgUser::kMigrator).c_str(), "read-write");
    assert_string_equal(attributes(settings, PgUser::kReader).c_str(), "");
    settings.postgres_dsn = "postgresql://a:1,b:2/logs";
    assert_string_equal(attributes(settings, PgUser::kLoader).c_str(), "read-write");
    settings.postgres_dsn = "hostaddr=127.0.0.1,127.0.0.2 target_session_attrs=primary";
    assert_string_equal(attributes(settings, PgUser::kLoader).c_str(), "primary");
    settings.postgres_dsn = "host=a";
    assert_string_equal(attributes(settings, PgUser::kLoader).c_str(), "");
}

void a_mistake_does_not_tell_the_password(void**) {
    Settings settings;
    for (const char* dsn : {"host=a password=my secret", "postgresql://u:my secret@[::1/x",
                            "password=secret hots=b"}) {
        settings.postgres_dsn = dsn;
        assert_null(strstr(refusal(settings).c_str(), "secret"));
    }
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(all_share_what_is_said_once),
        cmocka_unit_test(what_is_its_own_wins),
        cmocka_unit_test(a_word_is_a_database),
        cmocka_unit_test(passwords_come_from_the_nearest_file),
        cmocka_unit_test(of_several_hosts_who_writes_wants_the_primary),
        cmocka_unit_test(a_mistake_does_not_tell_the_password),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

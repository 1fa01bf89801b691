// Settings: file, environment, and every mistake named.
#include "daemon/settings.hpp"

#include "t/unit/cmocka.hpp"

namespace sluice::test {
namespace {

Settings read(std::string_view toml, std::vector<const char*> environment = {}) {
    environment.push_back(nullptr);
    return read_settings(toml, "test.toml", environment.data());
}

std::string refusal(std::string_view toml, std::vector<const char*> environment = {}) {
    try {
        read(toml, std::move(environment));
    } catch (const SettingsError& error) {
        return error.what();
    }
    return "";
}

void assert_holds(const std::string& text, const char* part) {
    if (text.find(part) == std::string::npos) {
        fail_msg("\"%s\" is not in \"%s\"", part, text.c_str());
    }
}

void defaults_need_no_file(void**) {
    const Settings settings = read("");
    assert_string_equal(settings.redis_stream.c_str(), "logs:stream");
    assert_string_equal(settings.redis_group.c_str(), "log_workers");
    assert_int_equal(settings.load_batch_rows, 50000);
    assert_false(settings.load_name.empty());
    assert_true(read("[load]\nlisten = \"\"\n").load_listen.empty());
}

void the_environment_wins_over_the_file(void**) {
    const Settings settings =
        read("[load]\nbatch_rows = 10\nbatch_age_ms = 7\n[redis]\nother_groups = [\"a\"]\n",
             {"PATH=/bin", "SLUICED_LOAD_BATCH_ROWS=20", "SLUICED_REDIS_OTHER_GROUPS=b,c"});
    assert_int_equal(settings.load_batch_rows, 20);
    assert_int_equal(settings.load_batch_age_ms, 7);
    assert_int_equal(settings.redis_other_groups.size(), 2);
    assert_string_equal(settings.redis_other_groups[1].c_str(), "c");
}

constexpr const char* kAskedRows =
    ": it must be a whole number of rows, 1 to 1000000 (default 50000)";
constexpr const char* kAskedUrl =
    ": it must be redis://[user[:password]@]host[:port][/db] or "
    "unix://[user[:password]@]/path[?db=N], 1 to 4096 bytes (default \"redis://127.0.0.1:6379\")";
constexpr const char* kAskedDsn =
    ": it must be a connection string of libpq, key=value key=value ... or postgresql://..., "
    "0 to 4096 bytes (default \"dbname=sluice\")";
constexpr const char* kAskedReaderUrl =
    ": it must be redis://[user[:password]@]host[:port][/db] or "
    "unix://[user[:password]@]/path[?db=N], 0 to 4096 bytes (default \"\")";
constexpr const char* kAskedListen =
    ": it must be host:port or unix:/path, 1 to 4096 bytes (default \"127.0.0.1:18724\")";
constexpr const char* kAskedGroups =
    ": it must be names of groups, 1 to 200 bytes each (default [])";
constexpr const char* kAskedLine =
    ": a line is [section], name = NUMBER, name = \"TEXT\", or # and a comment";

void assert_refused(const char* toml, const std::string& says) {
    assert_string_equal(refusal(toml).c_str(), says.c_str());
}

void unknown_names_are_refused_with_the_nearest(void**) {
    assert_refused("[load]\nbatch_row = 1\n",
                   "test.toml:2: unknown setting load.batch_row: did you mean load.batch_rows?");
    assert_refused("[load]\nBatch_Rows = 1\n",
                   "test.toml:2: unknown setting load.Batch_Rows: did you mean load.batch_rows?");
    assert_refused("[lod]\n\nbatch_rows = 1\n",
                   "test.toml:3: unknown setting lod.batch_rows: did you mean load.batch_rows?");
    assert_refused("[lod]\n", "test.toml:1: unknown section [lod]: did you mean [load]?");
    assert_refused("batch_rows = 1\n",
                   "test.toml:1: unknown setting batch_rows: did you mean load.batch_rows?");
    assert_refused("[load.names]\nx = 1\n",
                   "test.toml:1: unknown setting load.names: did you mean load.name?");
    assert_string_equal(refusal("", {"SLUICED_REDIS_URI=x"}).c_str(),
                        "environment: unknown setting SLUICED_REDIS_URI: did you mean "
                        "SLUICED_REDIS_URL?");
}

void a_section_is_a_section(void**) {
    const char* const says = "test.toml:1: load must be a section, [load], with its settings below";
    assert_refused("load = 5\n", says);
    assert_refused("[[load]]\nname = \"a\"\n", says);
}

void wrong_values_are_refused_with_line_and_rule(void**) {
    const struct {
        const char* toml;
        const char* wrong;
        const char* asked;
    } mistakes[] = {
        {"[load]\nbatch_rows = 0\n", "load.batch_rows is 0", kAskedRows},
        {"[load]\nbatch_rows = -5\n", "load.batch_rows is -5", kAskedRows},
        {"[load]\nbatch_rows = 1000001\n", "load.batch_rows is 1000001", kAskedRows},
        {"[load]\nbatch_rows = \"many\"\n",
         "load.batch_rows is no whole number, but of type string", kAskedRows},
        {"[load]\nbatch_rows = 1.5\n",
         "load.batch_rows is no whole number, but of type floating-point", kAskedRows},
        {"[load]\nbatch_rows = true\n", "load.batch_rows is no whole number, but of type boolean",
         kAskedRows},
        {"[redis]\nurl = 5\n", "redis.url is no text in quotes, but of type integer", kAskedUrl},
        {"[redis]\nurl = \"\"\n", "redis.url is empty", kAskedUrl},
        {"[redis]\nurl = \"http://secret\"\n",
         "redis.url is not right (it must begin with redis:// or unix://)", kAskedUrl},
        {"[redis]\nurl = \"redis://:secret@h:0\"\n",
         "redis.url is not right (the port must be a number from 1 to 65535)", kAskedUrl},
        {"[redis]\nurl = \"redis://secret\\u0000\"\n", "redis.url has a byte that is 0", kAskedUrl},
        {"[redis]\nother_groups = \"a\"\n",
         "redis.other_groups is no array, [\"...\", \"...\"], but of type string", kAskedGroups},
        {"[redis]\nother_groups = [1]\n", "redis.other_groups has an element of type integer",
         kAskedGroups},
        {"[redis]\nother_groups = [\"\"]\n", "redis.other_groups is empty", kAskedGroups},
        {"[postgres]\ndsn = \"hots=secret\"\n",
         "postgres.dsn is not right (libpq has no option hots, did you mean host?)", kAskedDsn},
        {"[postgres]\ndsn = \"postgresql://h/d?hots=secret\"\n",
         "postgres.dsn is not right (libpq has no option hots, did you mean host?)", kAskedDsn},
        {"[postgres]\ndsn = \"password=a secret\"\n",
         "postgres.dsn is not right (libpq cannot read it, is a value with spaces without its "
         "'quotes'?)",
         kAskedDsn},
        {"[log]\nlevel = \"debug\"\n", "log.level is not right (no such level)",
         ": it must be \"info\", \"warn\" or \"error\" (default \"info\")"},
        {"[log]\nformat = \"\"\n", "log.format is not right (no such format)",
         ": it must be \"auto\", \"json\" or \"text\" (default \"auto\")"},
        {"[redis]\ndurability = \"always\"\n", "redis.durability is not right (no such level)",
         ": it must be \"fsync\", \"everysec\" or \"memory\" (default \"fsync\")"},
        {"[postgres]\ndurability = \"on\"\n", "postgres.durability is not right (no such level)",
         ": it must be \"fsync\" or \"memory\" (default \"fsync\")"},
        {"[postgres]\ndurability = \"\"\n", "postgres.durability is not right (no such level)",
         ": it must be \"fsync\" or \"memory\" (default \"fsync\")"},
        {"[load]\nlisten = \"h\"\n", "load.listen is not right (host or port is missing)",
         ": it must be host:port, unix:/path, or nothing, 0 to 4096 bytes (default "
         "\"127.0.0.1:18725\")"},
        {"[serve]\nlisten = \"18724\"\n", "serve.listen is not right (host or port is missing)",
         kAskedListen},
        {"[serve]\nlisten = \":18724\"\n", "serve.listen is not right (host or port is missing)",
         kAskedListen},
        {"[serve]\nlisten = \"h:65536\"\n",
         "serve.listen is not right (the port must be a number from 1 to 65535)", kAskedListen},
        {"[serve]\nlisten = \"unix:\"\n",
         "serve.listen is not right (the path of a unix socket has 1 to 107 bytes)", kAskedListen},
    };
    for (const auto& mistake : mistakes) {
        assert_refused(mistake.toml, std::string("test.toml:2: ") + mistake.wrong + mistake.asked);
    }
}

void texts_have_a_length(void**) {
    const std::string toml = "[redis]\nstream = \"" + std::string(257, 's') + "\"\n";
    assert_refused(toml.c_str(),
                   "test.toml:2: redis.stream has 257 bytes: it must be the name of a key, "
                   "1 to 256 bytes (default \"logs:stream\")");
}

void the_environment_is_held_to_the_same(void**) {
    const struct {
        const char* variable;
        const char* wrong;
        const char* asked;
    } mistakes[] = {
        {"SLUICED_LOAD_BATCH_ROWS=4x", "SLUICED_LOAD_BATCH_ROWS is no whole number", kAskedRows},
        {"SLUICED_LOAD_BATCH_ROWS=", "SLUICED_LOAD_BATCH_ROWS is no whole number", kAskedRows},
        {"SLUICED_LOAD_BATCH_ROWS=0", "SLUICED_LOAD_BATCH_ROWS is 0", kAskedRows},
        {"SLUICED_REDIS_URL=", "SLUICED_REDIS_URL is empty", kAskedUrl},
        {"SLUICED_REDIS_URL=secret",
         "SLUICED_REDIS_URL is not right (it must begin with redis:// or unix://)", kAskedUrl},
        {"SLUICED_REDIS_READER_URL=secret",
         "SLUICED_REDIS_READER_URL is not right (it must begin with redis:// or unix://)",
         kAskedReaderUrl},
        {"SLUICED_REDIS_OTHER_GROUPS=a,,b", "SLUICED_REDIS_OTHER_GROUPS is empty", kAskedGroups},
        {"SLUICED_SERVE_LISTEN=here", "SLUICED_SERVE_LISTEN is not right (host or port is missing)",
         kAskedListen},
    };
    for (const auto& mistake : mistakes) {
        const std::string says = std::string("environment: ") + mistake.wrong + mistake.asked;
        assert_string_equal(refusal("", {mistake.variable}).c_str(), says.c_str());
    }
}

void what_is_no_toml_is_placed(void**) {
    const char* const once = ": each setting and each [section] stands there once";
    const struct {
        const char* toml;
        const char* place;
        const char* asked;
    } mistakes[] = {
        {"[load]\nx = = 1\n", "test.toml:2: ", kAskedLine},
        {"[load\n", "test.toml:1: ", kAskedLine},
        {"[load]\nbatch_rows =\n", "test.toml:2: ", kAskedLine},
        {"[load]\nbatch_rows 5\n", "test.toml:2: ", kAskedLine},
        {"[load]\nbatch_rows: 5\n", "test.toml:2: ", kAskedLine},
        {"[load]\nbatch_rows = 5 rows\n", "test.toml:2: ", kAskedLine},
        {"[load]\nbatch_rows = 99999999999999999999\n", "test.toml:2: ", kAskedLine},
        {"[redis]\nurl = redis://x\n", "test.toml:2: ", kAskedLine},
        {"[redis]\nurl = \"redis://x\n", "test.toml:2: ", kAskedLine},
        {"[redis]\nurl = \"\\q\"\n", "test.toml:2: ", kAskedLine},
        {"\n\xff\xfe\n", "test.toml:", kAskedLine},
        {"[load]\nbatch_rows = 1\nbatch_rows = 1\n", "test.toml:3: ", once},
        {"[load]\nname = \"a\"\n[redis]\n[load]\n", "test.toml:4: ", once},
    };
    for (const auto& mistake : mistakes) {
        const std::string said = refusal(mistake.toml);
        assert_holds(said, mistake.place);
        assert_holds(said, mistake.asked);
        assert_int_equal(said.find('\n'), std::string::npos);
    }
}

void a_file_that_cannot_be_read_is_named(void**) {
    const char* const nothing[] = {nullptr};
    for (const char* name : {"/nowhere/sluiced.toml", "/"}) {
        std::string said;
        try {
            static_cast<void>(load_settings(name, nothing));
        } catch (const SettingsError& error) {
            said = error.what();
        }
        assert_holds(said, (std::string("cannot read ") + name + ": ").c_str());
    }
}

void names_of_databases_are_connection_strings(void**) {
    for (const char* dsn : {"", "sluice", "host=/run dbname='a b'", "postgresql://u@h:1,i:2/d"}) {
        const std::string variable = std::string("SLUICED_POSTGRES_DSN=") + dsn;
        assert_string_equal(read("", {variable.c_str()}).postgres_dsn.c_str(), dsn);
    }
}

}  // namespace
}  // namespace sluice::test

int main() {
    using namespace sluice::test;
    const CMUnitTest tests[] = {
        cmocka_unit_test(defaults_need_no_file),
        cmocka_unit_test(the_environment_wins_over_the_file),
        cmocka_unit_test(unknown_names_are_refused_with_the_nearest),
        cmocka_unit_test(a_section_is_a_section),
        cmocka_unit_test(wrong_values_are_refused_with_line_and_rule),
        cmocka_unit_test(texts_have_a_length),
        cmocka_unit_test(the_environment_is_held_to_the_same),
        cmocka_unit_test(what_is_no_toml_is_placed),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(names_of_databases_are_connection_strings),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

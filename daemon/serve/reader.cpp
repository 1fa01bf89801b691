#include "daemon/serve/reader.hpp"

namespace sluice {

PgOptions reader_options(const Settings& settings) {
    PgOptions options;
    options.login = pg_login_of(settings, PgUser::kReader);
    options.application_name = "sluiced-serve";
    // When the one who asks has gone, the connection is closed, and Postgres notices; older than 14
    // it has no such setting, and works on until the timeout.
    options.session =
        "SET default_transaction_read_only = on; SET TimeZone = 'UTC';"
        // A day has no statistics before its millionth row. Postgres then takes a page for a few
        // rows, and sorts all of two days to find them; in the order of an index it never has to.
        " SET enable_seqscan = off; SET enable_bitmapscan = off;"
        " SELECT set_config(name, '500ms', false) FROM pg_settings"
        " WHERE name = 'client_connection_check_interval'";
    options.timeout_ms = settings.serve_query_timeout_ms;
    return options;
}

}  // namespace sluice

#include "daemon/pg_devices.hpp"

#include <string>

#include "daemon/pg_text.hpp"

namespace sluice {
namespace {

// COPY's backslashes mean the same in an array's quotes: device ids have no control characters, so
// all they hide is a backslash. Quotes mean nothing to COPY.
void append_quoted(std::string_view copy_text, std::string* array) {
    array->push_back('"');
    for (const char c : copy_text) {
        if (c == '"') {
            array->push_back('\\');
        }
        array->push_back(c);
    }
    array->push_back('"');
}

}  // namespace

// In the order of the key, as every loader, so that none waits in a circle. Frames that were not
// written by an edge may escape what need not be: two texts of one device.
bool store_last_seen(PgConnection* connection, const DeviceSet& devices) {
    ArrayText names, times;
    for (size_t number = 0; number < devices.size(); ++number) {
        append_quoted(devices.device(number), &names.next());
        append_time(devices.seen_ms(number) * 1000, &times.next());
    }
    return static_cast<bool>(connection->query(
        "INSERT INTO devices (device_id, last_seen)"
        " SELECT device_id, max(seen) FROM unnest($1::text[], $2::timestamptz[]) AS s (device_id,"
        " seen) GROUP BY device_id ORDER BY device_id"
        " ON CONFLICT (device_id) DO UPDATE SET last_seen = excluded.last_seen"
        " WHERE devices.last_seen < excluded.last_seen",
        {names.close(), times.close()}));
}

bool forget_devices(PgConnection* connection) {
    return static_cast<bool>(connection->query("SELECT sluice_forget_devices()"));
}

}  // namespace sluice

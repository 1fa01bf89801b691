// What the bodies of all answers have in common.
#pragma once

#include <string>
#include <string_view>

#include "daemon/serve/http_server.hpp"

namespace sluice {

void append_json_string(std::string_view value, std::string* out);

// Makes the response's body: an object that begins with where it comes from, as the edge knows to
// find it there, and then has the members given. The tag tells bodies apart whatever the edge makes
// of their beginning.
void finish_body(std::string members, HttpResponse* response);

}  // namespace sluice

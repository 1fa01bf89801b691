// Errors of the server as RFC 9457 documents.
#pragma once

#include "common/problem.hpp"
#include "daemon/serve/http_server.hpp"

namespace sluice {

// parameter: which one is wrong, as it stood in the request; empty if none is.
[[nodiscard]] HttpResponse problem_response(const Problem& problem,
                                            std::string_view parameter = {});

// With 400. It stays as wrong as it is: the next who asks it hears it from nginx.
[[nodiscard]] HttpResponse bad_query(std::string_view code, std::string_view rule,
                                     std::string_view parameter);
// With 503, to come again. A crowd behind nginx gets one such answer a second, in place of waiting
// in turns for what none of them gets.
[[nodiscard]] HttpResponse unavailable(std::string_view code, std::string_view detail,
                                       int retry_after_s = 1);
[[nodiscard]] HttpResponse database_unavailable();
[[nodiscard]] HttpResponse query_timeout();
// Who asked has gone, so that nobody will read this.
[[nodiscard]] HttpResponse nobody_is_there();

}  // namespace sluice

// Errors of the server as RFC 9457 documents.
#pragma once

#include "common/problem.hpp"
#include "daemon/serve/http_server.hpp"

namespace sluice {

// parameter: which one is wrong, as it stood in the request; empty if none is.
[[nodiscard]] HttpResponse problem_response(const Problem& problem,
                                            std::string_view parameter = {});

}  // namespace sluice

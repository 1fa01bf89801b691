#include "daemon/serve/problems.hpp"

#include "common/json_text.hpp"

namespace sluice {
namespace {

constexpr size_t kParameterBytesMax = 64;

// Parameters come undecoded and unchecked: what is shown of them is ASCII.
std::string shown(std::string_view parameter) {
    std::string text(parameter.substr(0, kParameterBytesMax));
    for (char& c : text) {
        if (static_cast<unsigned char>(c) >= 0x7f) {
            c = '?';
        }
    }
    return text;
}

}  // namespace

HttpResponse problem_response(const Problem& problem, std::string_view parameter) {
    HttpResponse response;
    response.status = problem.status;
    response.content_type = "application/problem+json";
    response.body.resize(problem_bytes(problem));
    char* end = write_problem_open(problem, response.body.data());
    response.body.resize(static_cast<size_t>(end - response.body.data()));
    if (!parameter.empty()) {
        const std::string text = shown(parameter);
        std::string escaped(text.size() * kJsonEscapeFactor, '\0');
        end = json_escape(text, escaped.data());
        response.body.append(",\"parameter\":\"")
            .append(escaped, 0, static_cast<size_t>(end - escaped.data()))
            .append("\"");
    }
    response.body.append("}");
    return response;
}

HttpResponse bad_query(std::string_view code, std::string_view rule, std::string_view parameter) {
    HttpResponse response = problem_response({400, code, rule}, parameter);
    response.cache_control = "max-age=10";
    return response;
}

HttpResponse unavailable(std::string_view code, std::string_view detail, int retry_after_s) {
    HttpResponse response = problem_response({503, code, detail});
    response.retry_after_s = retry_after_s;
    response.cache_control = "max-age=1";
    return response;
}

HttpResponse database_unavailable() {
    return unavailable("database_unavailable", "The database does not answer now.");
}

HttpResponse query_timeout() {
    return unavailable("query_timeout",
                       "The query took too long: ask for less time, or fewer levels.");
}

HttpResponse nobody_is_there() {
    return unavailable("client_gone", "The client has gone.");
}

}  // namespace sluice

#include "common/problem.hpp"

#include <cstring>

#include "common/json_text.hpp"

namespace sluice {
namespace {

char* append(std::string_view text, char* out) {
    std::memcpy(out, text.data(), text.size());
    return out + text.size();
}

}  // namespace

std::string_view status_title(int status) noexcept {
    switch (status) {
        case 400:
            return "Bad Request";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 413:
            return "Content Too Large";
        case 415:
            return "Unsupported Media Type";
        case 422:
            return "Unprocessable Content";
        case 425:
            return "Too Early";
        case 429:
            return "Too Many Requests";
        case 503:
            return "Service Unavailable";
        default:
            return "Error";
    }
}

size_t problem_bytes(const Problem& problem) noexcept {
    return 160 + problem.code.size() + kJsonEscapeFactor * problem.detail.size();
}

char* write_problem_open(const Problem& problem, char* out) noexcept {
    out = append("{\"type\":\"about:blank\",\"title\":\"", out);
    out = append(status_title(problem.status), out);
    out = append("\",\"status\":", out);
    *out++ = static_cast<char>('0' + problem.status / 100 % 10);
    *out++ = static_cast<char>('0' + problem.status / 10 % 10);
    *out++ = static_cast<char>('0' + problem.status % 10);
    out = append(",\"code\":\"", out);
    out = append(problem.code, out);
    out = append("\",\"detail\":\"", out);
    out = json_escape(problem.detail, out);
    *out++ = '"';
    return out;
}

}  // namespace sluice

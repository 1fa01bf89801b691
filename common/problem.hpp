// RFC 9457 problem documents: the one shape of every error, at the edge and at the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

struct Problem {
    int status;
    std::string_view code;    // stable, for programs
    std::string_view detail;  // for the human who wrote the client
};

// {"type":"about:blank","title":"...","status":422,"code":"...","detail":"..."
// without the closing brace, so that the caller can add members of its own.
// Needs at most problem_bytes(problem).
char* write_problem_open(const Problem& problem, char* out) noexcept;
[[nodiscard]] size_t problem_bytes(const Problem& problem) noexcept;

[[nodiscard]] std::string_view status_title(int status) noexcept;

}  // namespace sluice

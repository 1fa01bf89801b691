// For typing mistakes: which of the known names was meant.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

[[nodiscard]] inline size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (size_t i = 0; i < a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b.size(); ++j) {
            const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

// The first of those that are equally near; empty if there is none at all.
[[nodiscard]] inline std::string nearest(std::string_view name,
                                         const std::vector<std::string>& known) {
    const auto found =
        std::min_element(known.begin(), known.end(), [name](const auto& a, const auto& b) {
            return edit_distance(name, a) < edit_distance(name, b);
        });
    return found == known.end() ? std::string() : *found;
}

}  // namespace sluice

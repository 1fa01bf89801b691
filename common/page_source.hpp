// How a page begins: where it comes from. The server writes the one, and the edge puts the other,
// as long, over it when the page comes from its cache; so that nothing else of an answer changes.
#pragma once

#include <string_view>

namespace sluice {

inline constexpr std::string_view kPageFromDatabase = R"({"source":"database",)";
inline constexpr std::string_view kPageFromCache = R"({"source":"cache",   )";
static_assert(kPageFromCache.size() == kPageFromDatabase.size());

}  // namespace sluice

// A page of metrics as the daemon answers it: text that grows until everything fits.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/metrics_text.hpp"

namespace sluice {

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4";

// labels: those that every sample has. write is called until what it writes fits.
[[nodiscard]] std::string metrics_page(const std::string& labels,
                                       const std::function<void(MetricsText*)>& write);

// name="value", with what the format wants escaped.
[[nodiscard]] std::string metrics_label(std::string_view name, std::string_view value);

}  // namespace sluice

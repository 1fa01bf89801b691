#include "daemon/metrics_page.hpp"

namespace sluice {
namespace {

constexpr size_t kFirstBytes = 16 * 1024;

}  // namespace

std::string metrics_page(const std::string& labels,
                         const std::function<void(MetricsText*)>& write) {
    std::string out(kFirstBytes, '\0');
    for (;;) {
        MetricsText text(out.data(), out.size());
        text.labels(labels);
        write(&text);
        if (text.fits()) {
            out.resize(text.size());
            return out;
        }
        out.resize(2 * out.size());
    }
}

std::string metrics_label(std::string_view name, std::string_view value) {
    std::string label(name);
    label.append("=\"");
    for (const char c : value) {
        if (c == '\n') {
            label.append("\\n");
            continue;
        }
        if (c == '"' || c == '\\') {
            label.push_back('\\');
        }
        label.push_back(c);
    }
    return label.append("\"");
}

}  // namespace sluice

#include "common/copy_text.hpp"

namespace sluice {

char* copy_escape(std::string_view text, char* out) noexcept {
    for (char c : text) {
        out = copy_escape_char(c, out);
    }
    return out;
}

}  // namespace sluice

#include "daemon/commands/json_out.hpp"

#include <simdjson.h>

#include <cstdio>

#include "common/json_text.hpp"
#include "daemon/commands/human.hpp"

namespace sluice {

JsonOut& JsonOut::key(std::string_view name) {
    string(name);
    text_.push_back(':');
    first_ = true;
    return *this;
}

JsonOut& JsonOut::string(std::string_view value) {
    const std::string text = simdjson::validate_utf8(value.data(), value.size())
                                 ? std::string(value)
                                 : printable(value, true);
    std::string escaped(text.size() * kJsonEscapeFactor, '\0');
    escaped.resize(static_cast<size_t>(json_escape(text, escaped.data()) - escaped.data()));
    return raw("\"" + escaped + "\"");
}

JsonOut& JsonOut::number(double value) {
    char text[64];
    snprintf(text, sizeof text, "%.3f", value);
    return raw(text);
}

}  // namespace sluice

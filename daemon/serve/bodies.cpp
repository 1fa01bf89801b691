#include "daemon/serve/bodies.hpp"

#include "common/json_text.hpp"
#include "common/page_source.hpp"
#include "common/siphash.hpp"
#include "daemon/pg_text.hpp"

namespace sluice {

void append_json_string(std::string_view value, std::string* out) {
    const size_t size = out->size();
    out->resize(size + value.size() * kJsonEscapeFactor + 2);
    char* end = out->data() + size;
    *end++ = '"';
    end = json_escape(value, end);
    *end++ = '"';
    out->resize(static_cast<size_t>(end - out->data()));
}

void finish_body(std::string members, HttpResponse* response) {
    // No secret: all it does is to tell bodies apart.
    static constexpr uint8_t kKey[kSipKeyBytes] = {};
    const uint64_t hash = siphash<1, 3>(kKey, members);
    response->etag = "W/\"" + hex_text({reinterpret_cast<const char*>(&hash), sizeof hash}) + "\"";
    response->body.reserve(kPageFromDatabase.size() + members.size() + 1);
    response->body = kPageFromDatabase;
    response->body.append(members).append("}");
}

}  // namespace sluice

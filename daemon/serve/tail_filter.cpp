#include "daemon/serve/tail_filter.hpp"

#include <clocale>
#include <cwctype>

#include "daemon/serve/utf8.hpp"

namespace sluice {
namespace {

// As the database's, of which scripts/up says that it is C.UTF-8: ILIKE compares small letters of
// all languages.
locale_t letters() {
    static const locale_t kLetters = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return kLetters;
}

// Appends the character at p in small letters; returns what is behind it. Bytes that are no UTF-8
// stay as they are.
const char* append_small(const char* p, const char* end, std::string* out) {
    const auto lead = static_cast<uint8_t>(*p);
    const int more = lead < 0xc0 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (more == 0 || end - p <= more) {
        out->push_back(*p >= 'A' && *p <= 'Z' ? static_cast<char>(*p + ('a' - 'A')) : *p);
        return p + 1;
    }
    uint32_t point = lead & (0x3fU >> more);
    for (int i = 1; i <= more; ++i) {
        point = point << 6 | (static_cast<uint8_t>(p[i]) & 0x3f);
    }
    const auto small = static_cast<uint32_t>(
        letters() == nullptr ? point : towlower_l(static_cast<wint_t>(point), letters()));
    append_utf8(small, out);
    return p + 1 + more;
}

std::string in_small_letters(std::string_view text) {
    std::string small;
    small.reserve(text.size());
    const char* const end = text.data() + text.size();
    for (const char* p = text.data(); p < end;) {
        p = append_small(p, end, &small);
    }
    return small;
}

}  // namespace

TailFilter::TailFilter(const Query& query)
    : device_id_(query.device_id.view()),
      levels_(query.levels == 0 ? UINT8_MAX : query.levels),
      text_(in_small_letters(query.text.view())),
      contains_(query.contains.given() ? JsonValue::parse(query.contains.view()) : nullptr) {}

bool TailFilter::takes(const TailRecord& record) const {
    if ((levels_ >> static_cast<unsigned>(record.level()) & 1U) == 0 ||
        (!device_id_.empty() && device_id_ != record.device_id())) {
        return false;
    }
    if (!text_.empty() && in_small_letters(record.message()).find(text_) == std::string::npos) {
        return false;
    }
    if (contains_ == nullptr) {
        return true;
    }
    const std::unique_ptr<JsonValue> data = JsonValue::parse(record.log_data());
    return data != nullptr && data->contains(*contains_);
}

}  // namespace sluice

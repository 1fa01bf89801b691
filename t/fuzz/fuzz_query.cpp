// What is asked is written in one way, and that way asks the same.
#include <cstdlib>
#include <string_view>

#include "common/query.hpp"

using namespace sluice;

static void must(bool holds) {
    if (!holds) {
        abort();
    }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view target(reinterpret_cast<const char*>(data), size);
    Query query;
    QueryError error{};
    const QueryVerdict verdict = parse_query(target, &query, &error);
    if (verdict == QueryVerdict::kBad) {
        must(error.code != nullptr && error.rule != nullptr);
    }
    if (verdict != QueryVerdict::kGood) {
        return 0;
    }
    if (query.format == QueryFormat::kPage) {
        must(query.limit >= 1 && query.limit <= kQueryLimitMax && query.offset <= kQueryOffsetMax);
    } else {
        must(query.limit <= kQueryExportLimitMax && query.offset == 0);
    }

    char written[kQueryTargetBytesMax];
    const std::string_view canonical(written,
                                     static_cast<size_t>(write_query(query, written) - written));
    for (const char c : canonical) {
        must(c > ' ' && c < 0x7f && c != '"' && c != '#' && c != '+');
    }
    Query again;
    must(parse_query(canonical, &again, &error) == QueryVerdict::kGood);
    char written_again[kQueryTargetBytesMax];
    must(canonical ==
         std::string_view(written_again,
                          static_cast<size_t>(write_query(again, written_again) - written_again)));
    must(again.levels == query.levels && again.ascending == query.ascending &&
         again.device_id.view() == query.device_id.view() &&
         again.text.view() == query.text.view() && again.contains.view() == query.contains.view() &&
         again.from.us == query.from.us && again.to.us == query.to.us &&
         again.step_s == query.step_s);
    return 0;
}

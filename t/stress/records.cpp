#include "t/stress/records.hpp"

#include <zlib.h>

#include <iterator>
#include <stdexcept>

namespace sluice::stress {
namespace {

constexpr std::string_view kWords[] = {
    "connection", "timeout",     "user",  "login",   "payment", "accepted", "retry",   "upstream",
    "cache",      "miss",        "order", "created", "shipped", "failed",   "sensor",  "value",
    "pressure",   "temperature", "valve", "opened",  "closed",  "session",  "expired", "token",
    "refreshed",  "query",       "slow",  "index",   "pump",    "flow",     "level",   "restart"};
static_assert(std::size(kWords) == 32);
constexpr std::string_view kLevels[] = {"DEBUG", "INFO",    "INFO",  "INFO",
                                        "INFO",  "WARNING", "ERROR", "CRITICAL"};

// splitmix64: the same number gives the same bits, and the next number quite others.
uint64_t bits_of(uint64_t number) {
    uint64_t z = number + 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

}  // namespace

void Records::append_message(uint64_t number, std::string* out) const {
    uint64_t bits = bits_of(number);
    const uint64_t words = 4 + bits % 8;
    bits >>= 3;
    for (uint64_t word = 0; word < words; ++word, bits >>= 5) {
        out->append(kWords[bits % 32]).push_back(' ');
    }
    out->append(std::to_string(number));
}

void Records::append_record(uint64_t device, uint64_t number, std::string* out) const {
    const uint64_t bits = bits_of(~number);
    out->append(R"({"device_id":"stress-)").append(run_).push_back('-');
    out->append(std::to_string(device)).append(R"(","log_level":")").append(kLevels[bits % 8]);
    out->append(R"(","message":")");
    append_message(number, out);
    out->append(R"(","log_data":{"stress":")").append(run_).append(R"(","number":)");
    out->append(std::to_string(number)).append(R"(,"user":)");
    out->append(std::to_string((bits >> 8) % 1000000)).append(R"(,"latency_ms":)");
    out->append(std::to_string((bits >> 32) % 1000)).push_back('.');
    out->append(std::to_string((bits >> 48) % 1000)).append(R"(,"ok":true}})");
}

void Records::append_body(const Request& request, bool batch, std::string* out) const {
    out->append(batch ? R"({"logs":[)" : "");
    for (uint64_t i = 0; i < request.count; ++i) {
        out->append(i == 0 ? "" : ",");
        append_record(request.device, request.first + i, out);
    }
    out->append(batch ? "]}" : "");
}

std::string gzipped(std::string_view text) {
    z_stream stream{};
    constexpr int kGzip = 15 + 16;
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        throw std::runtime_error("zlib has no memory");
    }
    std::string out(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

}  // namespace sluice::stress

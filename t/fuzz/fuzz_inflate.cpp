// Inflating in steps against zlib all at once: what is whole, and what it says, must not depend on
// the steps; never more comes out than the bound; and what was deflated here comes back.
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "common/inflate.hpp"

using namespace sluice;

static constexpr size_t kMost = 1 << 18;
static constexpr int kGzipBits = 31;

static void require(bool holds) {
    if (!holds) {
        abort();
    }
}

struct Outcome {
    InflateStatus status;
    std::string text;
};

static Outcome in_steps(Coding coding, std::string_view body, size_t most, size_t share,
                        size_t room) {
    const std::unique_ptr<char[]> out(new char[room]);
    Outcome outcome = {InflateStatus::kMore, ""};
    Inflater inflater;
    require(inflater.begin(coding, body, most));
    while (outcome.status == InflateStatus::kMore) {
        const size_t taken = inflater.taken(), made = inflater.made();
        outcome.status = inflater.step(share, out.get(), room);
        require(inflater.taken() - taken <= share && inflater.taken() <= body.size());
        require(inflater.made() - made <= room && inflater.made() <= most);
        require(outcome.status != InflateStatus::kMore || inflater.taken() != taken ||
                inflater.made() != made);
        outcome.text.append(out.get(), inflater.made() - made);
    }
    require(outcome.status != InflateStatus::kNoMemory);
    require(outcome.status != InflateStatus::kWhole || inflater.taken() == body.size());
    return outcome;
}

// Each member with one call, into room for more than is allowed.
static Outcome at_once(int bits, std::string_view body, size_t most) {
    std::string text(kMost + 1, '\0');
    z_stream stream = {};
    require(inflateInit2(&stream, bits) == Z_OK);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
    stream.avail_in = static_cast<uInt>(body.size());
    stream.next_out = reinterpret_cast<Bytef*>(text.data());
    stream.avail_out = static_cast<uInt>(text.size());
    int result = inflate(&stream, Z_FINISH);
    while (result == Z_STREAM_END && bits == kGzipBits && stream.avail_in != 0) {
        require(inflateReset(&stream) == Z_OK);
        result = inflate(&stream, Z_FINISH);
    }
    const bool is_whole = result == Z_STREAM_END && stream.avail_in == 0;
    text.resize(text.size() - stream.avail_out);
    inflateEnd(&stream);
    if (text.size() > most) {
        return {InflateStatus::kTooLarge, text.substr(0, most)};
    }
    return {is_whole ? InflateStatus::kWhole : InflateStatus::kBroken, text};
}

static std::string deflated(std::string_view text, int bits, int level) {
    z_stream stream = {};
    require(deflateInit2(&stream, level, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    require(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

static void check_damaged(Coding coding, std::string_view body, size_t most, size_t share,
                          size_t room) {
    const bool is_bare = !body.empty() && (body[0] & 15) != 8;
    const int bits = coding == Coding::kGzip ? kGzipBits : is_bare ? -15 : 15;
    const Outcome steps = in_steps(coding, body, most, share, room);
    const Outcome once = at_once(bits, body, most);
    require(steps.status == once.status);
    require(steps.status == InflateStatus::kBroken || steps.text == once.text);
}

static void check_round_trip(Coding coding, std::string_view text, size_t most, size_t share,
                             size_t room, int level, bool is_bare) {
    std::string body;
    if (coding == Coding::kGzip) {
        const size_t half = text.size() / 2;
        body = deflated(text.substr(0, half), kGzipBits, level) +
               deflated(text.substr(half), kGzipBits, level);
    } else {
        body = deflated(text, is_bare ? -15 : 15, level);
    }
    const Outcome outcome = in_steps(coding, body, most, share, room);
    require(outcome.text == text.substr(0, most));
    require(outcome.status ==
            (text.size() <= most ? InflateStatus::kWhole : InflateStatus::kTooLarge));
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 4) {
        return 0;
    }
    const Coding coding = (data[0] & 1) != 0 ? Coding::kGzip : Coding::kDeflate;
    const int level = data[0] >> 4 & 7;
    const size_t share = data[1] + 1, room = 4 * data[2] + 1;
    const size_t most = data[3] < 64 ? data[3] : data[3] < 128 ? 16 * data[3] : kMost;
    const std::string_view rest(reinterpret_cast<const char*>(data) + 4, size - 4);
    if ((data[0] & 2) != 0) {
        check_round_trip(coding, rest, most, share, room, level, (data[0] & 4) != 0);
    } else {
        check_damaged(coding, rest, most, share, room);
    }
    return 0;
}

#include "common/inflate.hpp"

#include <algorithm>

namespace sluice {
namespace {

constexpr int kWindowBits = 15;
constexpr int kGzipFlag = 16;
// Of zlib's first byte these bits say "deflate"; of a bare stream's they would be a stored block
// with padding that is not zero, which no encoder writes.
constexpr int kMethodBits = 0x0f;
constexpr int kMethodDeflate = 8;

int window_bits(Coding coding, std::string_view body) {
    if (coding == Coding::kGzip) {
        return kWindowBits + kGzipFlag;
    }
    return body.empty() || (body[0] & kMethodBits) == kMethodDeflate ? kWindowBits : -kWindowBits;
}

}  // namespace

Inflater::~Inflater() {
    end();
}

bool Inflater::begin(Coding coding, std::string_view body, size_t bytes_max) noexcept {
    end();
    coding_ = coding;
    body_ = body;
    bytes_max_ = bytes_max;
    taken_ = 0;
    made_ = 0;
    open_ = inflateInit2(&stream_, window_bits(coding, body)) == Z_OK;
    return open_;
}

InflateStatus Inflater::step(size_t share, char* out, size_t room) noexcept {
    const size_t left = body_.size() - taken_;
    const size_t allowed = bytes_max_ - made_;
    // One byte beyond the bound tells a body that ends there from one that goes on.
    char beyond;
    const bool at_bound = allowed == 0;
    stream_.next_out = reinterpret_cast<Bytef*>(at_bound ? &beyond : out);
    stream_.avail_out = static_cast<uInt>(at_bound ? 1 : std::min(room, allowed));
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body_.data() + taken_));
    stream_.avail_in = static_cast<uInt>(std::min(share, left));
    const uInt in = stream_.avail_in, out_room = stream_.avail_out;

    // Told that this is all of it, zlib does without a window if all of it fits.
    const int result = inflate(&stream_, in == left ? Z_FINISH : Z_NO_FLUSH);

    taken_ += in - stream_.avail_in;
    const size_t written = out_room - stream_.avail_out;
    if (at_bound && written != 0) {
        return InflateStatus::kTooLarge;
    }
    made_ += written;
    switch (result) {
        case Z_OK:
        case Z_BUF_ERROR:
            // With room to spare, all that was read is written.
            return taken_ == body_.size() && stream_.avail_out != 0
                       ? broken("it ends before the compressed data do")
                       : InflateStatus::kMore;
        case Z_STREAM_END:
            return end_member();
        case Z_MEM_ERROR:
            return InflateStatus::kNoMemory;
        default:
            return broken(stream_.msg != nullptr ? stream_.msg : "it needs a dictionary");
    }
}

// A gzip file may have several members, one behind the other; they are one body.
InflateStatus Inflater::end_member() noexcept {
    if (taken_ == body_.size()) {
        return InflateStatus::kWhole;
    }
    if (coding_ != Coding::kGzip || body_[taken_] != '\x1f') {
        return broken("there is something behind the end of the compressed data");
    }
    inflateReset(&stream_);  // of a stream that was begun, it cannot fail
    return InflateStatus::kMore;
}

InflateStatus Inflater::broken(const char* reason) noexcept {
    reason_ = reason;
    return InflateStatus::kBroken;
}

void Inflater::end() noexcept {
    if (open_) {
        inflateEnd(&stream_);
        open_ = false;
    }
}

}  // namespace sluice

// A compressed body becomes what it was, a piece at a time: never more in one step than the caller
// has time for, never more in all than a bound set before. The compressed body is all there; who
// reads it, and where the output goes, is the caller's.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

// Content-Encodings. "deflate" is zlib's format by its RFC and bare deflate with some clients: the
// first byte tells them apart, as no encoder begins a bare stream with a byte that zlib's may be.
enum class Coding : uint8_t { kIdentity, kGzip, kDeflate };

// Small bodies may be as dense as they like. Of larger ones, records that are all the same reach
// 300 : 1 at any size, stack traces 180 : 1; what deflate can reach at most is 1032 : 1.
inline constexpr size_t kRatioFreeBytes = 1024 * 1024;
inline constexpr size_t kInflatedBytes = 8 * 1024 * 1024;
inline constexpr uint32_t kInflateRatio = 400;
inline constexpr uint32_t kInflateRatioMax = 1032;

// The most that so many compressed bytes may become by the ratio alone.
[[nodiscard]] constexpr size_t ratio_bytes_max(size_t compressed, size_t ratio) noexcept {
    return compressed > kRatioFreeBytes / ratio ? compressed * ratio : kRatioFreeBytes;
}

enum class InflateStatus : uint8_t {
    kMore,      // this step's share is used up: call again
    kWhole,     // the body is whole, and its checksums are right
    kBroken,    // see reason() and taken()
    kTooLarge,  // it goes beyond the bound
    kNoMemory,
};

class Inflater {
  public:
    // What an inflater allocates at most, besides itself: zlib's state and window.
    static constexpr size_t kMemoryBytes = 40 * 1024;

    Inflater() noexcept = default;
    ~Inflater();
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    // The body must stay where it is until the last step. False: there is no memory.
    [[nodiscard]] bool begin(Coding coding, std::string_view body, size_t bytes_max) noexcept;

    // Reads at most share bytes of the body and writes at most room bytes to out. Goes on as long
    // as share is not 0 and there is room, or as much was made already as is allowed.
    [[nodiscard]] InflateStatus step(size_t share, char* out, size_t room) noexcept;

    // Bytes of the body read, and of output made, so far.
    [[nodiscard]] size_t taken() const noexcept { return taken_; }
    [[nodiscard]] size_t made() const noexcept { return made_; }

    // Of a broken body: what is wrong with it.
    [[nodiscard]] const char* reason() const noexcept { return reason_; }

    // Gives back all memory; it is not needed any more once there is nothing more to do.
    void end() noexcept;

  private:
    InflateStatus broken(const char* reason) noexcept;
    InflateStatus end_member() noexcept;

    z_stream stream_ = {};
    bool open_ = false;
    Coding coding_ = Coding::kIdentity;
    std::string_view body_;
    size_t bytes_max_ = 0;
    size_t taken_ = 0;
    size_t made_ = 0;
    const char* reason_ = "";
};

}  // namespace sluice

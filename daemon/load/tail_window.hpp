// How many of the newest entries stay in the stream after they are acknowledged, so that who
// watches it can come back to where he was: as many as fit the bytes that are set for them, by the
// size of those that came lately. Fewer, and in the end none, while Redis' memory is taken: long
// before an edge has to refuse anything.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice {

struct RedisMemory {
    uint64_t used_bytes = 0;
    uint64_t max_bytes = 0;  // 0: as much as it likes
};

// What is kept at the moment, as loaders tell each other.
struct TailKept {
    uint64_t entries = 0;
    uint64_t entry_bytes = 0;  // each; 0: not known
};

class TailWindow {
  public:
    explicit TailWindow(uint64_t bytes_max) { set_bytes_max(bytes_max); }
    void set_bytes_max(uint64_t bytes_max) noexcept;

    // An entry with rows of so many bytes was read.
    void seen(uint64_t rows_bytes) noexcept;
    // What another loader, or another life of this one, knew when this one came to Redis, or as
    // long as it has seen none; what is seen counts for more.
    void told(const TailKept& kept) noexcept;
    void measured(const RedisMemory& memory) noexcept { memory_ = memory; }

    // To be kept, whoever acknowledged them. All until somebody has told what is there; none where
    // nobody knows how large they are, for then there is no telling how much that would be.
    [[nodiscard]] uint64_t entries() const noexcept;
    [[nodiscard]] uint64_t entry_bytes() const noexcept;  // 0: not known
    // Redis' memory is taken, so that there is less to be kept than is set.
    [[nodiscard]] bool gives_way() const noexcept { return bytes() < bytes_max_; }

  private:
    // The entries seen last, which together are about what the window holds. The oldest of them are
    // forgotten a part at a time.
    static constexpr size_t kParts = 16;
    struct Part {
        uint64_t entries = 0;
        uint64_t bytes = 0;
    };

    [[nodiscard]] uint64_t bytes() const noexcept;
    [[nodiscard]] uint64_t part_bytes() const noexcept { return bytes_max_ / kParts; }
    [[nodiscard]] Part sum() const noexcept;

    uint64_t bytes_max_ = 0;
    RedisMemory memory_;
    Part parts_[kParts];
    size_t newest_ = 0;
    bool told_ = false;
};

}  // namespace sluice

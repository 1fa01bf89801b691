// The rows of a batch in the order in which Postgres is given them: by device, those of a device as
// they came. So it writes the index of devices page by page and not all over: with large batches of
// many devices a row costs it a fifth less. And who asks for a device finds its rows together.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice {

class BatchRow {
  public:
    // text: as it stands in the frame, with its newline.
    BatchRow(uint32_t frame, uint32_t position, std::string_view text) noexcept
        : text_(text.data()),
          bytes_(static_cast<uint32_t>(text.size())),
          device_bytes_(static_cast<uint32_t>(text.find('\t'))),
          frame_(frame),
          position_(position) {}

    [[nodiscard]] std::string_view text() const noexcept { return {text_, bytes_}; }
    // As COPY text; a row without a tab is all device.
    [[nodiscard]] std::string_view device() const noexcept {
        return text().substr(0, device_bytes_);
    }
    // Of the batch.
    [[nodiscard]] uint32_t frame() const noexcept { return frame_; }
    // In the frame.
    [[nodiscard]] uint32_t position() const noexcept { return position_; }

  private:
    friend class BatchRows;

    const char* text_;
    uint32_t bytes_;
    uint32_t device_bytes_;
    uint32_t frame_;
    uint32_t position_;
    uint64_t device_key_ = 0;
};

class BatchRows {
  public:
    void clear() noexcept { rows_.clear(); }
    // All rows of a frame. Frames are added in their order.
    void add(uint32_t frame, std::string_view rows);
    // When all are added.
    void sort();

    [[nodiscard]] uint64_t size() const noexcept { return rows_.size(); }
    [[nodiscard]] const BatchRow& operator[](uint64_t row) const noexcept { return rows_[row]; }

  private:
    bool set_keys() noexcept;

    std::vector<BatchRow> rows_;
};

}  // namespace sluice

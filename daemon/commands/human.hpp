// What is printed for humans: numbers with units, tables, and bytes that came from outside.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

[[nodiscard]] std::string human_count(uint64_t n);        // 1,234,567
[[nodiscard]] std::string human_bytes(uint64_t bytes);    // 3.1 MB, by 1024
[[nodiscard]] std::string human_seconds(double seconds);  // 0.4 s, 12 min 3 s, 5 h 12 min, 3 d 2 h

// Text that cannot drive a terminal: whatever is no visible character is shown as \xHH, byte by
// byte, as are those that change the direction of what follows; a backslash is doubled. Beyond
// ASCII only if the terminal reads UTF-8: to another one these bytes may be controls.
[[nodiscard]] std::string printable(std::string_view text, bool utf8);
// The same on one line, for what servers say: their line breaks and tabs become spaces.
[[nodiscard]] std::string one_line(std::string_view text, bool utf8);
// As the locale of this process says.
[[nodiscard]] bool terminal_reads_utf8();

// Columns are as wide as their widest cell; those named numeric are flush right.
class Table {
  public:
    explicit Table(std::vector<std::string> head, std::vector<bool> numeric = {})
        : rows_{std::move(head)}, numeric_(std::move(numeric)) {}
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    [[nodiscard]] std::string text() const;

  private:
    std::vector<std::vector<std::string>> rows_;
    std::vector<bool> numeric_;
};

}  // namespace sluice

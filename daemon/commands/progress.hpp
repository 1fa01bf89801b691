// Tells on stderr how far long work has come: on a terminal in a line that changes, elsewhere in a
// line now and then.
#pragma once

#include <cstdint>
#include <string>

namespace sluice {

// "stored again 1,200 of 5,000 (24 %), 300/s, 12 s left"; without a total, no share of it.
[[nodiscard]] std::string progress_text(const std::string& what, uint64_t done, uint64_t total,
                                        double seconds);

class Progress {
  public:
    // A total of 0 is unknown.
    Progress(std::string what, uint64_t total);
    ~Progress();  // ends the line
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void at(uint64_t done);

  private:
    std::string what_;
    uint64_t total_;
    bool terminal_;
    int64_t began_us_;
    int64_t told_us_;
    size_t width_ = 0;  // of the line that is on the terminal
};

}  // namespace sluice

// What sluiced check says about one thing.
#pragma once

#include <string>
#include <vector>

namespace sluice {

enum class Verdict : uint8_t {
    kOk,
    kWarn,  // works, and keeps what is promised; but somebody should look at it
    kFail,  // does not work, or not as is promised
};

struct Finding {
    Verdict verdict;
    const char* check;  // its name, for scripts
    std::string what;
    std::string todo;  // empty if there is nothing to be done
};

using Findings = std::vector<Finding>;

[[nodiscard]] const char* name_of(Verdict verdict) noexcept;

}  // namespace sluice

// cmocka, as C++ sees it: its header needs these first, and speaks of views as pointer and size.
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>

extern "C" {
#include <cmocka.h>
}

#include <string>
#include <string_view>

inline void assert_text_equal(std::string_view actual, std::string_view expected) {
    if (actual != expected) {
        fail_msg("\n  got:      \"%s\"\n  expected: \"%s\"", std::string(actual).c_str(),
                 std::string(expected).c_str());
    }
}

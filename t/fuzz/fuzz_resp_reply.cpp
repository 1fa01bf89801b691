// Redis' replies: a whole one is whole at its last byte and at no byte before, lies inside the
// buffer, and does not depend on what follows.
#include <cstdlib>
#include <cstring>
#include <memory>

#include "common/resp_reply.hpp"

using namespace sluice;

static void require(bool holds) {
    if (!holds) {
        abort();
    }
}

static ReplyStatus read_exact(const char* text, size_t size, Reply* reply) {
    const std::unique_ptr<char[]> exact(new char[size]);
    std::memcpy(exact.get(), text, size);
    return read_reply(exact.get(), size, reply);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const char* const text = reinterpret_cast<const char*>(data);
    Reply reply, again;
    if (read_exact(text, size, &reply) != ReplyStatus::kComplete) {
        return 0;
    }
    require(reply.bytes > 0 && reply.bytes <= size && reply.text.size() < reply.bytes);
    require(read_exact(text, reply.bytes, &again) == ReplyStatus::kComplete);
    require(again.bytes == reply.bytes && again.type == reply.type);
    require(read_exact(text, reply.bytes - 1, &again) == ReplyStatus::kIncomplete);

    require(read_reply(text, size, &reply) == ReplyStatus::kComplete);
    if (reply.type == ReplyType::kArray) {
        std::string_view rest = reply.text;
        Reply element;
        int64_t n = 0;
        while (take_element(&rest, &element)) {
            n++;
        }
        require(rest.empty() && n == reply.integer);
    }
    return 0;
}

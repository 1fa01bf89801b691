#include "common/resp_reply.hpp"

#include <cstring>
#include <memory>

#include "t/unit/cmocka.hpp"

using namespace sluice;

// In a buffer of its own size, so that a sanitizer sees a read behind it.
static ReplyStatus read(std::string_view text, Reply* reply) {
    const std::unique_ptr<char[]> exact(new char[text.size()]);
    std::memcpy(exact.get(), text.data(), text.size());
    const ReplyStatus status = read_reply(exact.get(), text.size(), reply);
    if (status == ReplyStatus::kComplete && !reply->text.empty()) {
        reply->text =
            text.substr(static_cast<size_t>(reply->text.data() - exact.get()), reply->text.size());
    }
    return status;
}

static const std::string_view kWhole[] = {
    "+OK\r\n",
    "-OOM command not allowed\r\n",
    ":-42\r\n",
    "$0\r\n\r\n",
    "$15\r\n1700000000000-0\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*2\r\n$1\r\na\r\n*1\r\n:7\r\n",
    "$5\r\n\r\n\r\nx\r\n",
};

static void a_reply_is_whole_only_at_its_last_byte(void**) {
    for (std::string_view text : kWhole) {
        Reply reply;
        for (size_t size = 0; size < text.size(); size++) {
            assert_true(read(text.substr(0, size), &reply) == ReplyStatus::kIncomplete);
        }
        assert_true(read(text, &reply) == ReplyStatus::kComplete);
        assert_int_equal(reply.bytes, text.size());
        assert_true(read(std::string(text) + "+NEXT", &reply) == ReplyStatus::kComplete);
        assert_int_equal(reply.bytes, text.size());
    }
}

static void types_and_values(void**) {
    Reply reply;
    assert_true(read("-OOM no\r\n", &reply) == ReplyStatus::kComplete);
    assert_true(reply.type == ReplyType::kError);
    assert_text_equal(reply.text, "OOM no");
    assert_true(read(":-42\r\n", &reply) == ReplyStatus::kComplete);
    assert_true(reply.type == ReplyType::kInteger);
    assert_int_equal(reply.integer, -42);
    assert_true(read("$-1\r\n", &reply) == ReplyStatus::kComplete);
    assert_true(reply.type == ReplyType::kNull);
    assert_true(read("$5\r\nab\r\nc\r\n", &reply) == ReplyStatus::kComplete);
    assert_text_equal(reply.text, "ab\r\nc");
}

static void elements_are_taken_one_by_one(void**) {
    const std::string_view text = "*3\r\n$6\r\nmaster\r\n*2\r\n:1\r\n:2\r\n$-1\r\n";
    Reply reply, element;
    assert_true(read(text, &reply) == ReplyStatus::kComplete);
    assert_int_equal(reply.integer, 3);
    std::string_view rest = reply.text;
    assert_true(take_element(&rest, &element));
    assert_text_equal(element.text, "master");
    assert_true(take_element(&rest, &element));
    assert_true(element.type == ReplyType::kArray);
    assert_true(take_element(&rest, &element));
    assert_true(element.type == ReplyType::kNull);
    assert_false(take_element(&rest, &element));
}

static void what_is_not_redis_is_broken(void**) {
    for (std::string_view text :
         {"HTTP/1.1 400\r\n", "x", "\r\n", "$x\r\n", "$\r\n", "$-2\r\n", "$2\r\nabc\r\n",
          "$99999999999\r\n", "*99999999\r\n", ":1x\r\n", "+a\rb\r\n", "*1\r\n!\r\n",
          "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", ":9223372036854775808\r\n"}) {
        Reply reply;
        if (read(text, &reply) != ReplyStatus::kBroken) {
            fail_msg("taken: %s", std::string(text).c_str());
        }
    }
}

static void nothing_grows_without_bound(void**) {
    Reply reply;
    assert_true(read("+" + std::string(10000, 'x'), &reply) == ReplyStatus::kBroken);
    assert_true(read("$65537\r\n", &reply) == ReplyStatus::kBroken);
    std::string many = "*1000\r\n";
    while (many.size() < kReplyBytesMax) {
        many += "$100\r\n" + std::string(100, 'x') + "\r\n";
    }
    assert_true(read(many, &reply) == ReplyStatus::kBroken);
}

static void entry_ids_are_two_numbers(void**) {
    assert_true(is_entry_id("1700000000000-0"));
    assert_true(is_entry_id("18446744073709551615-18446744073709551615"));
    for (std::string_view text : {"", "-", "1-", "-1", "1", "1-2-3", "1-x", "a-1", "1- 2", "hello",
                                  "184467440737095516150-0"}) {
        assert_false(is_entry_id(text));
    }
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_whole_only_at_its_last_byte),
        cmocka_unit_test(types_and_values),
        cmocka_unit_test(elements_are_taken_one_by_one),
        cmocka_unit_test(what_is_not_redis_is_broken),
        cmocka_unit_test(entry_ids_are_two_numbers),
        cmocka_unit_test(nothing_grows_without_bound),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

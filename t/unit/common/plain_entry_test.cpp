#include "common/plain_entry.hpp"

#include <cstring>
#include <memory>
#include <vector>

#include "t/unit/cmocka.hpp"

using namespace sluice;

using Fields = std::vector<EntryField>;

struct Written {
    std::string row;
    PlainEntry out;
};

static Written write(const Fields& fields) {
    // Values and row in buffers of their own size, so that a sanitizer sees a step outside.
    std::vector<std::unique_ptr<char[]>> exact;
    Fields copies;
    for (const EntryField& field : fields) {
        exact.emplace_back(new char[field.value.size()]);
        std::memcpy(exact.back().get(), field.value.data(), field.value.size());
        copies.push_back({field.name, {exact.back().get(), field.value.size()}});
    }
    const size_t room = PlainEntries::row_bytes_max(copies.data(), copies.size());
    const std::unique_ptr<char[]> row(new char[room]);
    Written written;
    PlainEntries entries;
    char* end = entries.write_row(copies.data(), copies.size(), row.get(), &written.out);
    written.row.assign(row.get(), end);
    return written;
}

static std::string row_of(const Fields& fields) {
    const Written written = write(fields);
    if (written.out.refusal != Refusal::kNone) {
        fail_msg("%s: %s", field_name(written.out.field), refusal_text(written.out.refusal).code);
    }
    return written.row;
}

static void refused(const Fields& fields, Refusal refusal, RecordField field) {
    const Written written = write(fields);
    if (written.out.refusal != refusal || written.out.field != field) {
        fail_msg("expected %s: %s, got %s: %s", field_name(field), refusal_text(refusal).code,
                 field_name(written.out.field), refusal_text(written.out.refusal).code);
    }
}

// A good entry with one field set, or left out if the value is null.
static Fields entry_with(std::string_view name, std::string_view value) {
    Fields fields = {{"device_id", "d"}, {"log_level", "INFO"}, {"message", "m"}};
    for (EntryField& field : fields) {
        if (field.name == name) {
            field.value = value;
            return fields;
        }
    }
    fields.push_back({name, value});
    return fields;
}

static Fields entry_without(std::string_view name) {
    Fields fields;
    for (const EntryField& field : entry_with("", "")) {
        if (field.name != name && !field.name.empty()) {
            fields.push_back(field);
        }
    }
    return fields;
}

static void an_entry_becomes_the_row_of_its_record(void**) {
    assert_text_equal(row_of({{"device_id", "d1"},
                              {"log_level", "warning"},
                              {"message", "hi"},
                              {"log_data", "{\"a\": 1}"},
                              {"created_at", "2024-11-14T10:30:00.5+02:00"}}),
                      "d1\tWARNING\thi\t{\"a\": 1}\t2024-11-14T08:30:00.500000Z\n");
}

static void fields_come_in_any_order_and_among_others(void**) {
    assert_text_equal(row_of({{"v", "1"},
                              {"message", "hi"},
                              {"host", "\xff\xfe"},
                              {"log_level", "INFO"},
                              {"timestamp", "never"},
                              {"device_id", "d1"},
                              {"", ""}}),
                      "d1\tINFO\thi\t{}\t\\N\n");
}

static void text_is_escaped_for_copy(void**) {
    assert_text_equal(row_of(entry_with("message", "a\tb\nc\rd\\e\\N\\.")),
                      "d\tINFO\ta\\tb\\nc\\rd\\\\e\\\\N\\\\.\t{}\t\\N\n");
    assert_text_equal(row_of(entry_with("device_id", "a\\b")), "a\\\\b\tINFO\tm\t{}\t\\N\n");
}

static void a_nul_becomes_the_replacement_character(void**) {
    assert_text_equal(row_of(entry_with("message", std::string_view("\0x\0", 3))),
                      "d\tINFO\t\xef\xbf\xbdx\xef\xbf\xbd\t{}\t\\N\n");
    assert_text_equal(row_of(entry_with("log_data", "{\"\\u0000\":\"\\u0000\"}")),
                      "d\tINFO\tm\t{\"\\\\ufffd\":\"\\\\ufffd\"}\t\\N\n");
}

static void log_data_is_json_that_keeps_its_text(void**) {
    for (const char* nothing : {"", "null", "{}", " null "}) {
        assert_text_equal(row_of(entry_with("log_data", nothing)), "d\tINFO\tm\t{}\t\\N\n");
    }
    assert_text_equal(row_of(entry_with("log_data", " {\"a\":\t1.50,\n\"b\":\"x\\ny\"} ")),
                      "d\tINFO\tm\t{\"a\": 1.50, \"b\":\"x\\\\ny\"}\t\\N\n");
}

static void log_data_is_held_to_the_rules_of_json(void**) {
    constexpr RecordField field = RecordField::kLogData;
    const auto with = [](std::string_view json) { return entry_with("log_data", json); };
    refused(with("{"), Refusal::kMalformedJson, field);
    refused(with("{\"a\":1}}"), Refusal::kMalformedJson, field);
    refused(with("{},\"device_id\":\"other\""), Refusal::kMalformedJson, field);
    refused(with("{'a': 1}"), Refusal::kMalformedJson, field);
    refused(with("nul"), Refusal::kMalformedJson, field);
    refused(with("{\"a\":NaN}"), Refusal::kMalformedJson, field);
    refused(with("{\"a\":\"\\x\"}"), Refusal::kMalformedJson, field);
    refused(with("{\"a\":\"\xff\"}"), Refusal::kInvalidUtf8, field);
    refused(with(" "), Refusal::kEmptyBody, field);
    refused(with("[1]"), Refusal::kWrongType, field);
    refused(with("\"{}\""), Refusal::kWrongType, field);
    refused(with("{\"a\":\"\\ud800\"}"), Refusal::kLoneSurrogate, field);
    refused(with("{\"a\":1e400000}"), Refusal::kNumberOutOfRange, field);
    refused(with("{\"a\":" + std::string(65, '1') + "}"), Refusal::kNumberTooLong, field);
    const std::string deep = "{\"a\":" + std::string(64, '[') + std::string(64, ']') + "}";
    refused(with(deep), Refusal::kTooDeep, field);
}

static void required_fields_are_required(void**) {
    refused(entry_without("device_id"), Refusal::kMissing, RecordField::kDeviceId);
    refused(entry_without("log_level"), Refusal::kMissing, RecordField::kLogLevel);
    refused(entry_without("message"), Refusal::kMissing, RecordField::kMessage);
    refused(entry_with("device_id", ""), Refusal::kEmpty, RecordField::kDeviceId);
    refused(entry_with("log_level", ""), Refusal::kEmpty, RecordField::kLogLevel);
    refused(entry_with("message", ""), Refusal::kEmpty, RecordField::kMessage);
}

static void device_ids_are_short_and_printable(void**) {
    constexpr RecordField field = RecordField::kDeviceId;
    assert_text_equal(row_of(entry_with("device_id", std::string(50, 'd'))),
                      std::string(50, 'd') + "\tINFO\tm\t{}\t\\N\n");
    refused(entry_with("device_id", std::string(51, 'd')), Refusal::kTooLong, field);
    for (const std::string_view bad : {std::string_view("a\nb"), std::string_view("\0", 1),
                                       std::string_view("\x7f"), std::string_view("\xc2\x85")}) {
        refused(entry_with("device_id", bad), Refusal::kControlCharacter, field);
    }
    refused(entry_with("device_id", "\xff"), Refusal::kInvalidUtf8, field);
    assert_text_equal(row_of(entry_with("device_id", "s\xc3\xa4")),
                      "s\xc3\xa4\tINFO\tm\t{}\t\\N\n");
}

static void other_values_are_judged_too(void**) {
    refused(entry_with("log_level", "LOUD"), Refusal::kUnknownLevel, RecordField::kLogLevel);
    refused(entry_with("message", "\xed\xa0\x80"), Refusal::kInvalidUtf8, RecordField::kMessage);
    for (const std::string_view name : {"device_id", "log_level", "message"}) {
        Fields twice = entry_with("", "");
        twice.push_back({name, "INFO"});
        assert_int_equal(write(twice).out.refusal, Refusal::kDuplicateKey);
    }
    // All five count, so that what the loader keeps for one entry is bounded.
    const std::string half(kRecordBytes / 2, 'x');
    Fields large = entry_with("message", half);
    large.push_back({"created_at", half});
    refused(large, Refusal::kRecordTooLarge, RecordField::kNone);
    large.back().name = "not of the record";
    assert_int_equal(write(large).out.refusal, Refusal::kNone);
}

static void created_at_is_the_events_time_if_it_can_be_read(void**) {
    const auto event_time = [](std::string_view value) {
        const std::string row = row_of(entry_with("created_at", value));
        return row.substr(row.rfind('\t') + 1);
    };
    assert_text_equal(event_time("2024-11-14T10:30:00Z"), "2024-11-14T10:30:00.000000Z\n");
    assert_text_equal(event_time("2024-11-14T10:30:00.123456"), "2024-11-14T10:30:00.123456Z\n");
    assert_text_equal(event_time("2024-11-14 10:30:00"), "2024-11-14T10:30:00.000000Z\n");
    assert_text_equal(event_time("1731580200.25"), "2024-11-14T10:30:00.250000Z\n");
    const std::string long_text = "2024-11-14T10:30:00." + std::string(500, '1');
    for (const std::string_view unreadable :
         {std::string_view(""), std::string_view("yesterday"), std::string_view("0000-00-00"),
          std::string_view("2024-11-14T25:00:00"), std::string_view("\0", 1),
          std::string_view(long_text)}) {
        assert_text_equal(event_time(unreadable), "\\N\n");
    }
}

// Room for the worst: every byte of every field grows.
static void the_row_never_outgrows_its_room(void**) {
    const std::string nuls(1000, '\0');
    const std::string tabs(1000, '\t');
    std::string json = "{\"a\":\"";
    for (int i = 0; i < 500; ++i) {
        json += "\\\\\\u0000";
    }
    json += "\"}";
    for (const std::string& text : {nuls, tabs, std::string("x")}) {
        row_of({{"device_id", "d"},
                {"log_level", "critical"},
                {"message", text},
                {"created_at", "1"}});
    }
    row_of({{"device_id", "d"}, {"log_level", "critical"}, {"message", "m"}, {"log_data", json}});
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_becomes_the_row_of_its_record),
        cmocka_unit_test(fields_come_in_any_order_and_among_others),
        cmocka_unit_test(text_is_escaped_for_copy),
        cmocka_unit_test(a_nul_becomes_the_replacement_character),
        cmocka_unit_test(log_data_is_json_that_keeps_its_text),
        cmocka_unit_test(log_data_is_held_to_the_rules_of_json),
        cmocka_unit_test(required_fields_are_required),
        cmocka_unit_test(device_ids_are_short_and_printable),
        cmocka_unit_test(other_values_are_judged_too),
        cmocka_unit_test(created_at_is_the_events_time_if_it_can_be_read),
        cmocka_unit_test(the_row_never_outgrows_its_room),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

#include "common/json_rows.hpp"

#include <cstring>
#include <memory>

#include "t/unit/cmocka.hpp"

using namespace sluice;

struct Parsed {
    std::string rows;
    BodyRows out;
};

static Parsed parse(BodyShape shape, std::string_view body, const BodyLimits& limits = {}) {
    // Both in buffers of their own size, so that a sanitizer sees a step outside.
    const std::unique_ptr<char[]> exact(new char[body.size()]);
    std::memcpy(exact.get(), body.data(), body.size());
    const size_t room = rows_bytes_max(body.size());
    const std::unique_ptr<char[]> rows(new char[room]);
    Parsed parsed;
    JsonRows json;
    char* end = json.parse(shape, {exact.get(), body.size()}, limits, rows.get(), &parsed.out);
    parsed.rows.assign(rows.get(), end);
    return parsed;
}

static std::string log_row(std::string_view body) {
    const Parsed parsed = parse(BodyShape::kRecord, body);
    if (parsed.out.refusal != Refusal::kNone) {
        fail_msg("%s at %u: %s", refusal_text(parsed.out.refusal).code, parsed.out.offset,
                 std::string(body).c_str());
    }
    assert_int_equal(parsed.out.records, 1);
    return parsed.rows;
}

static void refused(BodyShape shape, std::string_view body, Refusal refusal,
                    RecordField field = RecordField::kNone, const BodyLimits& limits = {}) {
    const Parsed parsed = parse(shape, body, limits);
    if (parsed.out.refusal != refusal) {
        fail_msg("expected %s, got %s: %s", refusal_text(refusal).code,
                 refusal_text(parsed.out.refusal).code, std::string(body).c_str());
    }
    assert_text_equal(parsed.rows, "");
    if (field != RecordField::kNone) {
        assert_int_equal(parsed.out.errors_kept, 1);
        assert_true(parsed.out.errors[0].field == field);
    }
}

static std::string record_with(std::string_view members) {
    return R"({"device_id":"d","log_level":"INFO","message":"m")" + std::string(members) + "}";
}

static void a_record_becomes_a_row(void**) {
    assert_text_equal(
        log_row(R"({"device_id":"d1","log_level":"info","message":"hi","log_data":{"a":1}})"),
        "d1\tINFO\thi\t{\"a\":1}\t\\N\n");
    // In any order, with white space, keys escaped.
    assert_text_equal(log_row("\n{ \"m\\u0065ssage\" : \"hi\" ,\r\n\t\"log_level\":\"Critical\", "
                              "\"device_id\":\"\xc3\xa4\" } \n"),
                      "\xc3\xa4\tCRITICAL\thi\t{}\t\\N\n");
    assert_text_equal(log_row(record_with(R"(,"log_data":null,"timestamp":null)")),
                      "d\tINFO\tm\t{}\t\\N\n");
    assert_text_equal(log_row(record_with(R"(,"timestamp":"2024-11-14T10:30:00+01:00")")),
                      "d\tINFO\tm\t{}\t2024-11-14T09:30:00.000000Z\n");
    assert_text_equal(log_row(record_with(R"(,"timestamp":1699957800.5)")),
                      "d\tINFO\tm\t{}\t2023-11-14T10:30:00.500000Z\n");
    assert_text_equal(log_row(record_with(R"(,"timestamp":"1699957800123")")),
                      "d\tINFO\tm\t{}\t2023-11-14T10:30:00.123000Z\n");
}

static void a_batch_becomes_rows_in_its_order(void**) {
    const Parsed parsed = parse(
        BodyShape::kBatch, R"({"logs":[{"device_id":"a","log_level":"debug","message":"1"},)"
                           R"({"device_id":"b","log_level":"ERROR","message":"2"}],"source":"x"})");
    assert_true(parsed.out.refusal == Refusal::kNone);
    assert_int_equal(parsed.out.records, 2);
    assert_int_equal(parsed.out.unknown_fields, 1);
    assert_int_equal(parsed.out.highest_level, static_cast<int>(Level::kError));
    assert_text_equal(parsed.rows, "a\tDEBUG\t1\t{}\t\\N\nb\tERROR\t2\t{}\t\\N\n");
}

static void device_id_rules(void**) {
    const auto body = [](std::string_view id) {
        return R"({"log_level":"INFO","message":"m","device_id":)" + std::string(id) + "}";
    };
    const RecordField field = RecordField::kDeviceId;
    log_row(body("\"" + std::string(50, 'x') + "\""));
    refused(BodyShape::kRecord, body("\"" + std::string(51, 'x') + "\""), Refusal::kTooLong, field);
    std::string wide;
    for (int i = 0; i < 26; i++) {
        wide += "\xc3\xa4";
    }
    refused(BodyShape::kRecord, body("\"" + wide + "\""), Refusal::kTooLong, field);
    refused(BodyShape::kRecord, body("\"\""), Refusal::kEmpty, field);
    refused(BodyShape::kRecord, body("7"), Refusal::kWrongType, field);
    refused(BodyShape::kRecord, body("null"), Refusal::kWrongType, field);
    for (std::string_view id :
         {R"("a\nb")", R"("\u0000")", R"("\u0085")", "\"a\x7f\"", "\"a\xc2\x85\""}) {
        refused(BodyShape::kRecord, body(id), Refusal::kControlCharacter, field);
    }
    assert_text_equal(log_row(body("\"a\xc2\xa0/..\\\\\"")),
                      "a\xc2\xa0/..\\\\\tINFO\tm\t{}\t\\N\n");
}

// Names are compared as words, so what differs in any byte or in length must differ there too.
static void only_the_five_levels_are_levels(void**) {
    const auto accepted = [](std::string_view level) {
        const std::string body =
            R"({"device_id":"d","message":"m","log_level":")" + std::string(level) + "\"}";
        return parse(BodyShape::kRecord, body).out.refusal == Refusal::kNone;
    };
    for (std::string_view name : kLevelNames) {
        std::string lower(name);
        for (char& c : lower) {
            c = static_cast<char>(c | 0x20);
        }
        assert_true(accepted(name) && accepted(lower));
        for (size_t at = 0; at < name.size(); at++) {
            for (int c = 0x20; c < 0x7f; c++) {
                std::string other(name);
                other[at] = static_cast<char>(c);
                if (c != '"' && c != '\\' && (c & ~0x20) != name[at]) {
                    assert_false(accepted(other));
                }
            }
        }
        assert_false(accepted(std::string(name) + "X"));
        assert_false(accepted(name.substr(1)) || accepted(name.substr(0, name.size() - 1)));
        // As long as the longest, with the letters that are compared at both ends.
        assert_false(accepted(std::string(name.substr(0, 4)) + "xxx" +
                              std::string(name.substr(name.size() - 4))));
    }
    assert_true(accepted("\\u0049NFO"));
}

static void other_field_rules(void**) {
    refused(BodyShape::kRecord, R"({"device_id":"d","log_level":"INFO"})", Refusal::kMissing,
            RecordField::kMessage);
    refused(BodyShape::kRecord, R"({"device_id":"d","message":"m"})", Refusal::kMissing,
            RecordField::kLogLevel);
    refused(BodyShape::kRecord, R"({"device_id":"d","log_level":"loud","message":"m"})",
            Refusal::kUnknownLevel, RecordField::kLogLevel);
    refused(BodyShape::kRecord, R"({"device_id":"d","log_level":1,"message":"m"})",
            Refusal::kWrongType, RecordField::kLogLevel);
    refused(BodyShape::kRecord, R"({"device_id":"d","log_level":"INFO","message":""})",
            Refusal::kEmpty, RecordField::kMessage);
    refused(BodyShape::kRecord, R"({"device_id":"d","log_level":"INFO","message":"\uD800"})",
            Refusal::kLoneSurrogate, RecordField::kMessage);
    refused(BodyShape::kRecord, record_with(R"(,"log_data":[1])"), Refusal::kWrongType,
            RecordField::kLogData);
    refused(BodyShape::kRecord, record_with(R"(,"log_data":{"a":"\uDC00"})"),
            Refusal::kLoneSurrogate, RecordField::kLogData);
    refused(BodyShape::kRecord, record_with(R"(,"timestamp":"yesterday")"), Refusal::kBadTimestamp,
            RecordField::kTimestamp);
    refused(BodyShape::kRecord, record_with(R"(,"timestamp":{})"), Refusal::kWrongType,
            RecordField::kTimestamp);
    refused(BodyShape::kRecord, record_with(R"(,"message":"n")"), Refusal::kDuplicateKey,
            RecordField::kMessage);
    // The same key inside log_data is the client's own affair.
    log_row(record_with(R"(,"log_data":{"a":1,"a":2,"message":0})"));
}

static void unknown_fields_are_ignored_or_refused(void**) {
    const std::string body = record_with(R"(,"extra":{"a":["\u00e4"]})");
    const Parsed parsed = parse(BodyShape::kRecord, body);
    assert_true(parsed.out.refusal == Refusal::kNone);
    assert_int_equal(parsed.out.unknown_fields, 1);
    BodyLimits limits;
    limits.unknown_fields_refused = true;
    refused(BodyShape::kRecord, body, Refusal::kUnknownField, RecordField::kNone, limits);
    refused(BodyShape::kRecord, record_with(R"(,"extra":"\x")"), Refusal::kMalformedJson);
}

static void limits_are_kept(void**) {
    BodyLimits limits;
    limits.records_max = 2;
    const std::string one = record_with("");
    assert_true(
        parse(BodyShape::kBatch, R"({"logs":[)" + one + "," + one + "]}", limits).out.refusal ==
        Refusal::kNone);
    refused(BodyShape::kBatch, R"({"logs":[)" + one + "," + one + "," + one + "]}",
            Refusal::kTooManyRecords, RecordField::kNone, limits);
    limits.record_bytes_max = one.size();
    assert_true(parse(BodyShape::kRecord, " " + one + " ", limits).out.refusal == Refusal::kNone);
    refused(BodyShape::kRecord, record_with(" "), Refusal::kRecordTooLarge, RecordField::kNone,
            limits);
    const auto nested = [](size_t depth) {
        return record_with(R"(,"log_data":)" + std::string("{\"a\":") +
                           std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}");
    };
    log_row(nested(64));
    refused(BodyShape::kRecord, nested(65), Refusal::kTooDeep);
    refused(BodyShape::kRecord, std::string(100000, '['), Refusal::kTooDeep);
}

static void malformed_bodies_are_refused_whole(void**) {
    for (std::string_view body : {"{",
                                  "}",
                                  "[",
                                  "nul",
                                  "{\"a\"}",
                                  "{\"a\":}",
                                  "{\"a\":1,}",
                                  "{,}",
                                  "{\"a\":1 \"b\":2}",
                                  "{\"a\":1}}",
                                  "{\"a\":[1,]}",
                                  "{\"a\":[1}",
                                  "{\"a\":\"x}",
                                  "{'a':1}",
                                  "{\"a\":01}",
                                  "{\"a\":1]",
                                  "{a:1}",
                                  "{\"a\":\"\t\"}",
                                  "{\"a\":\"\\x\"}",
                                  "\xef\xbb\xbf{}",
                                  "{\"a\":tru}",
                                  "{\"a\":\"x\"y}",
                                  "{\"a\":1,\"b\"}",
                                  "{\"\\x\":1}",
                                  "{\"a\"::1}",
                                  ","}) {
        refused(BodyShape::kRecord, body, Refusal::kMalformedJson);
        refused(BodyShape::kBatch, body, Refusal::kMalformedJson);
        refused(BodyShape::kRecords, body, Refusal::kMalformedJson);
    }
    refused(BodyShape::kRecord, "{\"a\":1} {}", Refusal::kMalformedJson);
    refused(BodyShape::kRecord, "", Refusal::kEmptyBody);
    refused(BodyShape::kRecord, " \n\t ", Refusal::kEmptyBody);
    refused(BodyShape::kRecord, "{\"a\":\"\xff\"}", Refusal::kInvalidUtf8);
    refused(BodyShape::kRecord, "{\"a\":\"\xed\xa0\x80\"}", Refusal::kInvalidUtf8);
    refused(BodyShape::kRecord, "{\"a\":\"\xc0\xaf\"}", Refusal::kInvalidUtf8);
    refused(BodyShape::kRecord, std::string_view("{\"a\":\0}", 7), Refusal::kMalformedJson);
}

static void a_batch_must_be_one(void**) {
    refused(BodyShape::kBatch, "[]", Refusal::kEmptyBatch);
    refused(BodyShape::kBatch, "7", Refusal::kNotABatch);
    refused(BodyShape::kBatch, "\"logs\"", Refusal::kNotABatch);
    refused(BodyShape::kBatch, "{}", Refusal::kLogsMissing);
    refused(BodyShape::kBatch, R"({"log":[]})", Refusal::kLogsMissing);
    refused(BodyShape::kBatch, R"({"logs":{}})", Refusal::kLogsNotAnArray);
    refused(BodyShape::kBatch, R"({"logs":[]})", Refusal::kEmptyBatch);
    refused(BodyShape::kBatch, R"({"logs":[7]})", Refusal::kRecordNotAnObject);
    const std::string logs = R"("logs":[)" + record_with("") + "]";
    refused(BodyShape::kBatch, "{" + logs + "," + logs + "}", Refusal::kDuplicateKey);
    refused(BodyShape::kRecord, "[]", Refusal::kRecordNotAnObject);
}

static void every_bad_record_is_named_up_to_a_bound(void**) {
    std::string body = R"({"logs":[)" + record_with("");
    for (int i = 1; i < 40; i++) {
        body += R"(,{"device_id":"","log_level":"INFO","message":"m"})";
    }
    const Parsed parsed = parse(BodyShape::kBatch, body + "]}");
    assert_true(parsed.out.refusal == Refusal::kEmpty);
    assert_int_equal(parsed.out.bad_records, 39);
    assert_int_equal(parsed.out.errors_kept, BodyRows::kErrorsKept);
    assert_int_equal(parsed.out.errors[0].index, 1);
    assert_int_equal(parsed.out.errors[1].index, 2);
    assert_true(parsed.out.errors[0].field == RecordField::kDeviceId);
    // Broken JSON behind bad records is still the graver thing to say.
    assert_true(parse(BodyShape::kBatch, body + "]").out.refusal == Refusal::kMalformedJson);
}

static void what_ends_a_record_does_not_end_the_list(void**) {
    const std::string body = R"({"x":[1],"logs":[)" + record_with("") + "," +
                             record_with(R"(,"log_data":{"n":1e999})") + "," +
                             record_with(R"(,"\ud800":[{}])") + ",7," + record_with("") + "]}";
    const Parsed parsed = parse(BodyShape::kBatch, body);
    assert_true(parsed.out.refusal == Refusal::kNumberOutOfRange);
    assert_int_equal(parsed.out.records, 5);
    assert_int_equal(parsed.out.bad_records, 3);
    assert_int_equal(parsed.out.errors_kept, 3);
    assert_int_equal(parsed.out.errors[0].index, 1);
    assert_true(parsed.out.errors[0].field == RecordField::kLogData);
    assert_true(parsed.out.errors[1].refusal == Refusal::kLoneSurrogate);
    assert_true(parsed.out.errors[2].refusal == Refusal::kRecordNotAnObject);
    assert_text_equal(parsed.rows, "");
    // Outside of records there is neither.
    const Parsed outside = parse(BodyShape::kBatch, R"({"x":1e999,"logs":[]})");
    assert_true(outside.out.refusal == Refusal::kNumberOutOfRange);
    assert_int_equal(outside.out.errors_kept, 0);
}

static void nuls_become_replacements_and_are_counted(void**) {
    const Parsed parsed = parse(
        BodyShape::kRecord,
        R"({"device_id":"d","log_level":"INFO","message":"a\u0000","log_data":{"\u0000":"\u0000"}})");
    assert_true(parsed.out.refusal == Refusal::kNone);
    assert_int_equal(parsed.out.nuls_replaced, 3);
    assert_text_equal(parsed.rows, "d\tINFO\ta\xef\xbf\xbd\t{\"\\\\ufffd\":\"\\\\ufffd\"}\t\\N\n");
}

// The offset points at what broke.
static void offsets_point_at_the_place(void**) {
    assert_int_equal(parse(BodyShape::kRecord, R"({"device_id" "x"})").out.offset, 13);
    assert_int_equal(parse(BodyShape::kRecord, R"({"a":1,})").out.offset, 7);
    assert_int_equal(parse(BodyShape::kRecord, R"({"a":1)").out.offset, 6);
    assert_int_equal(parse(BodyShape::kRecord, R"({"a":"12\x"})").out.offset, 8);
}

// What the index refuses, too.
static void offsets_point_at_broken_strings(void**) {
    const auto broke_at = [](const std::string& body, Refusal refusal) {
        const Parsed parsed = parse(BodyShape::kBatch, body);
        assert_true(parsed.out.refusal == refusal);
        assert_int_equal(parsed.out.errors_kept, 0);
        assert_text_equal(parsed.rows, "");
        return parsed.out.offset;
    };
    const std::string before = "[" + record_with("") + ",";
    const auto at = [&](size_t offset) { return before.size() + offset; };
    assert_int_equal(broke_at(before + "{\"message\":\"a\xff\"}]", Refusal::kInvalidUtf8), at(13));
    assert_int_equal(broke_at(before + "{\"message\":\"a\tb\"}]", Refusal::kMalformedJson), at(13));
    assert_int_equal(broke_at(before + "{\"message\":\"a", Refusal::kMalformedJson), at(13));
    // A quote that is missing turns all that follows inside out; it shows where a word should not
    // be, which is long before the string that is never closed.
    assert_int_equal(
        broke_at(before + R"({"message":"a,"log_level":"INFO"},)" + record_with("") + "]",
                 Refusal::kMalformedJson),
        at(15));
    assert_int_equal(broke_at("\"", Refusal::kMalformedJson), 1);
}

static void the_first_object_is_a_record_whatever_is_wrong_with_it(void**) {
    BodyLimits limits;
    limits.partial = true;
    for (const char* bad : {R"({"x":1e999,"device_id":"d"})", R"({"\ud800":1,"device_id":"d"})",
                            R"({"x":["\ud800"],"device_id":"d"})"}) {
        const Parsed parsed = parse(BodyShape::kBatch, bad + record_with(""), limits);
        assert_true(parsed.out.refusal == Refusal::kNone);
        assert_text_equal(parsed.rows, "d\tINFO\tm\t{}\t\\N\n");
        assert_int_equal(parsed.out.errors_kept, 1);
        assert_int_equal(parsed.out.errors[0].index, 0);
    }
    for (const char* broken : {R"({"x":)", R"({"x":})", R"({"x"})", R"({"x")", R"({"x":1e})"}) {
        refused(BodyShape::kBatch, broken, Refusal::kMalformedJson, RecordField::kNone, limits);
    }
}

// What is wrong around or behind the records is not to be told as if it were wrong with the first.
static void a_body_is_refused_for_its_records_or_not(void**) {
    const std::string bad = R"({"device_id":"d","log_level":"INFO","message":"m","message":"n"})";
    const auto for_records = [](const std::string& body, Refusal refusal) {
        BodyLimits limits;
        limits.records_max = 2;
        const Parsed parsed = parse(BodyShape::kBatch, body, limits);
        assert_true(parsed.out.refusal == refusal);
        assert_int_equal(parsed.out.errors_kept, 1);
        return parsed.out.refused_for_records();
    };
    assert_true(for_records("[" + bad + "]", Refusal::kDuplicateKey));
    assert_false(for_records(R"({"logs":[)" + bad + R"(],"logs":[]})", Refusal::kDuplicateKey));
    assert_false(for_records("[" + bad + ",}", Refusal::kMalformedJson));
    assert_false(for_records("[" + bad, Refusal::kMalformedJson));
    assert_false(for_records("[" + bad + "," + record_with("") + "," + record_with("") + "]",
                             Refusal::kTooManyRecords));
}

// One parser serves bodies of every size, one after the other.
static void a_parser_is_used_again(void**) {
    JsonRows json;
    BodyRows out;
    for (size_t size : {1U, 100000U, 10U, 300000U, 1U}) {
        const std::string body =
            R"({"device_id":"d","log_level":"INFO","message":")" + std::string(size, 'x') + "\"}";
        std::string rows(rows_bytes_max(body.size()), '\0');
        BodyLimits limits;
        limits.record_bytes_max = 1000000;
        const char* end = json.parse(BodyShape::kRecord, body, limits, rows.data(), &out);
        assert_true(out.refusal == Refusal::kNone);
        assert_int_equal(end - rows.data(), size + sizeof("d\tINFO\t\t{}\t\\N\n") - 1);
    }
}

static const std::string kOne = record_with("");
static const std::string kOneRow = "d\tINFO\tm\t{}\t\\N\n";

static void a_batch_comes_in_three_shapes(void**) {
    for (const std::string& body :
         {"{\"logs\":[" + kOne + "," + kOne + "]}",
          "{\"x\":{\"message\":1},\"logs\":[" + kOne + "," + kOne + "]}",
          "{\"\\u006cogs\":[" + kOne + "," + kOne + "]}", "[" + kOne + "," + kOne + "]",
          " [ " + kOne + " , " + kOne + " ] ", kOne + kOne, kOne + "\n" + kOne + "\n",
          "\r\n" + kOne + "\r\n\r\n" + kOne,
          "{\"x\":1," + kOne.substr(1) + "{\"y\":[]," + kOne.substr(1)}) {
        const Parsed parsed = parse(BodyShape::kBatch, body);
        if (parsed.out.refusal != Refusal::kNone) {
            fail_msg("%s: %s", refusal_text(parsed.out.refusal).code, body.c_str());
        }
        assert_int_equal(parsed.out.records, 2);
        assert_int_equal(parsed.out.rows, 2);
        assert_text_equal(parsed.rows, kOneRow + kOneRow);
    }
    assert_text_equal(parse(BodyShape::kBatch, kOne).rows, kOneRow);
}

static void records_one_by_one_are_nothing_else(void**) {
    assert_text_equal(parse(BodyShape::kRecords, kOne + "\n" + kOne + "\n").rows,
                      kOneRow + kOneRow);
    assert_text_equal(parse(BodyShape::kRecords, kOne).rows, kOneRow);
    refused(BodyShape::kRecords, "", Refusal::kEmptyBody);
    refused(BodyShape::kRecords, "\n\n", Refusal::kEmptyBody);
    refused(BodyShape::kRecords, "[" + kOne + "]", Refusal::kRecordNotAnObject);
    refused(BodyShape::kRecords, "{\"logs\":[" + kOne + "]}", Refusal::kMissing);
    refused(BodyShape::kRecords, kOne + "," + kOne, Refusal::kMalformedJson);
    refused(BodyShape::kRecords, kOne + "\n{\"device_id\":\"d", Refusal::kMalformedJson);
    refused(BodyShape::kBatch, kOne + "\n{\"device_id\":\"d", Refusal::kMalformedJson);
    refused(BodyShape::kBatch, kOne + "7", Refusal::kRecordNotAnObject);
    BodyLimits limits;
    limits.records_max = 2;
    refused(BodyShape::kRecords, kOne + kOne + kOne, Refusal::kTooManyRecords, RecordField::kNone,
            limits);
    refused(BodyShape::kBatch, "[" + kOne + "," + kOne + "," + kOne + "]", Refusal::kTooManyRecords,
            RecordField::kNone, limits);
}

static void in_partial_mode_bad_records_are_left_out(void**) {
    BodyLimits limits;
    limits.partial = true;
    limits.record_bytes_max = 1000;
    const std::string deep(70, '[');
    for (const std::string& bad :
         {std::string("7"), std::string("[[\"a\"],{}]"), std::string("{}"), std::string("\"x\""),
          record_with(R"(,"message":"n")"), record_with(R"(,"log_data":{"a":1e999,"b":[{}]})"),
          record_with(",\"log_data\":{\"a\":" + deep + std::string(70, ']') + "}"),
          record_with(R"(,"\ud800":[{"a":2}])"), record_with(R"(,"x":"\ud800")"),
          record_with(R"(,"log_data":{"\u0000":"\udc00"})"), std::string("1e999"),
          record_with(",\"x\":\"" + std::string(1000, 'x') + "\""),
          std::string(R"({"device_id":"d","log_level":"CRITICAL","message":""})")}) {
        for (const std::string& body :
             {bad + " " + kOne + bad + "\n" + kOne, kOne + bad + "\n" + kOne, kOne + kOne + bad}) {
            const Parsed parsed = parse(BodyShape::kRecords, body, limits);
            if (parsed.out.refusal != Refusal::kNone) {
                fail_msg("%s: %s", refusal_text(parsed.out.refusal).code, body.c_str());
            }
            assert_text_equal(parsed.rows, kOneRow + kOneRow);
            assert_int_equal(parsed.out.rows, 2);
            assert_int_equal(parsed.out.records, 2 + parsed.out.bad_records);
            const size_t before = body.find(bad) / kOne.size();
            assert_int_equal(parsed.out.errors[0].index, before);
            assert_int_equal(parsed.out.highest_level, static_cast<int>(Level::kInfo));
            assert_int_equal(parsed.out.nuls_replaced, 0);
            assert_int_equal(parsed.out.unknown_fields, 0);
        }
        const Parsed array = parse(BodyShape::kBatch, "[" + bad + "," + kOne + "]", limits);
        assert_text_equal(array.rows, kOneRow);
        const Parsed none = parse(BodyShape::kBatch, "[" + bad + "," + bad + "]", limits);
        assert_true(none.out.refusal != Refusal::kNone);
        assert_int_equal(none.out.bad_records, 2);
        assert_text_equal(none.rows, "");
        refused(BodyShape::kRecords, kOne + bad + " {", Refusal::kMalformedJson, RecordField::kNone,
                limits);
    }
    // Broken JSON is nobody's record: what is behind it cannot be told apart.
    for (const char* broken : {"{", R"({"a":"\x"})", R"({"a":[}])", R"({"message":"\x"})", ","}) {
        refused(BodyShape::kRecords, kOne + broken + kOne, Refusal::kMalformedJson,
                RecordField::kNone, limits);
    }
}

static void bad_records_are_counted_by_what_is_wrong_first(void**) {
    const std::string body =
        "[" + kOne + R"(,7,{"device_id":"","log_level":"x"},{"device_id":""}])";
    const Parsed parsed = parse(BodyShape::kBatch, body);
    const auto count = [&](Refusal refusal) {
        return parsed.out.bad_by_refusal[static_cast<unsigned>(refusal)];
    };
    assert_int_equal(parsed.out.bad_records, 3);
    assert_int_equal(count(Refusal::kRecordNotAnObject), 1);
    assert_int_equal(count(Refusal::kEmpty), 2);
    assert_int_equal(count(Refusal::kMissing), 0);
}

static void the_index_of_a_very_large_body_is_given_back(void**) {
    JsonIndex index;
    const std::string large = "[" + std::string(8 << 20, ' ') + "]";
    assert_true(index.build(large.data(), large.size()) == Refusal::kNone);
    assert_true(index.capacity() >= large.size());
    assert_true(index.build("[1]", 3) == Refusal::kNone);
    assert_int_equal(index.count(), 3);
    assert_true(index.capacity() <= 2 << 20);
    const size_t kept = index.capacity();
    assert_true(index.build("[1,2]", 5) == Refusal::kNone);
    assert_int_equal(index.capacity(), kept);
}

// Admits every second record, and remembers what it was asked.
class EverySecond final : public RecordGate {
  public:
    bool admits(uint32_t index, Level level, std::string_view row) noexcept override {
        asked += std::to_string(index) + kLevelNames[static_cast<unsigned>(level)].data() + " ";
        rows += row;
        return ++count % 2 == 0;
    }
    std::string asked, rows;
    int count = 0;
};

static void a_gate_leaves_good_records_out(void**) {
    EverySecond gate;
    BodyLimits limits;
    limits.partial = true;
    limits.gate = &gate;
    const std::string error = R"({"device_id":"d","log_level":"error","message":"\u0000","x":1})";
    const Parsed parsed = parse(
        BodyShape::kBatch, "[" + error + ",7," + kOne + "," + error + "," + error + "]", limits);
    assert_text_equal(gate.asked, "0ERROR 2INFO 3ERROR 4ERROR ");
    const std::string error_row = "d\tERROR\t\xef\xbf\xbd\t{}\t\\N\n";
    assert_text_equal(gate.rows, error_row + kOneRow + error_row + error_row);
    assert_text_equal(parsed.rows, kOneRow + error_row);
    assert_int_equal(parsed.out.records, 5);
    assert_int_equal(parsed.out.rows, 2);
    assert_int_equal(parsed.out.withheld, 2);
    assert_int_equal(parsed.out.bad_records, 1);
    assert_int_equal(parsed.out.nuls_replaced, 1);
    assert_int_equal(parsed.out.unknown_fields, 1);
    assert_int_equal(parsed.out.highest_level, static_cast<int>(Level::kError));

    // Nothing is stored, yet not because the records were bad.
    EverySecond another;
    limits.gate = &another;
    const Parsed none = parse(BodyShape::kBatch, "[7," + kOne + "]", limits);
    assert_true(none.out.refusal == Refusal::kNone);
    assert_int_equal(none.out.rows, 0);
    assert_int_equal(none.out.withheld, 1);

    // Nobody is asked about what is only read to find where it broke.
    EverySecond unasked;
    limits.gate = &unasked;
    refused(BodyShape::kBatch, "[" + kOne + ",{\"message\":\"m", Refusal::kMalformedJson,
            RecordField::kNone, limits);
    assert_text_equal(unasked.asked, "");
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_record_becomes_a_row),
        cmocka_unit_test(a_batch_becomes_rows_in_its_order),
        cmocka_unit_test(device_id_rules),
        cmocka_unit_test(only_the_five_levels_are_levels),
        cmocka_unit_test(other_field_rules),
        cmocka_unit_test(unknown_fields_are_ignored_or_refused),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(malformed_bodies_are_refused_whole),
        cmocka_unit_test(a_batch_must_be_one),
        cmocka_unit_test(a_batch_comes_in_three_shapes),
        cmocka_unit_test(records_one_by_one_are_nothing_else),
        cmocka_unit_test(in_partial_mode_bad_records_are_left_out),
        cmocka_unit_test(a_gate_leaves_good_records_out),
        cmocka_unit_test(bad_records_are_counted_by_what_is_wrong_first),
        cmocka_unit_test(every_bad_record_is_named_up_to_a_bound),
        cmocka_unit_test(what_ends_a_record_does_not_end_the_list),
        cmocka_unit_test(nuls_become_replacements_and_are_counted),
        cmocka_unit_test(offsets_point_at_the_place),
        cmocka_unit_test(offsets_point_at_broken_strings),
        cmocka_unit_test(the_first_object_is_a_record_whatever_is_wrong_with_it),
        cmocka_unit_test(a_body_is_refused_for_its_records_or_not),
        cmocka_unit_test(a_parser_is_used_again),
        cmocka_unit_test(the_index_of_a_very_large_body_is_given_back),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

// Every case of t/json/cases.tsv, as a value in log_data and as a whole body.
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/json_rows.hpp"
#include "t/unit/cmocka.hpp"

using namespace sluice;

namespace {

struct Case {
    std::string name;
    std::string verdict;  // yes, a code, or * for one of those of broken bodies
    std::string text;
};

std::string unescape(const std::string& text) {
    std::string bytes;
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] != '\\') {
            bytes.push_back(text[i]);
        } else if (text[++i] == 'x') {
            bytes.push_back(static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16)));
            i += 2;
        } else {
            bytes.push_back(text[i]);
        }
    }
    return bytes;
}

// "3x" of "ab" is "ababab", "3n" of "[]" is "[[[]]]".
std::string repeated(const std::string& how, const std::string& text) {
    const size_t times = how.empty() ? 1 : std::stoul(how);
    std::string all;
    if (!how.empty() && how.back() == 'n') {
        return std::string(times, text.front()) + std::string(times, text.back());
    }
    for (size_t i = 0; i < times; i++) {
        all += text;
    }
    return all;
}

std::vector<Case> read_cases() {
    std::vector<Case> cases;
    std::ifstream file(SLUICE_JSON_CASES);
    for (std::string line; std::getline(file, line);) {
        if (line.front() == '#') {
            continue;
        }
        std::vector<std::string> columns;
        std::istringstream cells(line);
        for (std::string cell; std::getline(cells, cell, '\t');) {
            columns.push_back(cell);
        }
        cases.push_back({columns[0], columns[1], repeated(columns[2], unescape(columns[3]))});
    }
    return cases;
}

BodyRows parse(const std::string& body) {
    static JsonRows json;
    std::string rows(rows_bytes_max(body.size()), '\0');
    BodyRows out;
    BodyLimits limits;
    limits.record_bytes_max = 1024 * 1024;
    (void)json.parse(BodyShape::kRecord, body, limits, rows.data(), &out);
    return out;
}

bool is_broken(Refusal refusal) {
    return refusal == Refusal::kMalformedJson || refusal == Refusal::kInvalidUtf8;
}

void require(bool holds, const Case& one, const char* where, Refusal refusal) {
    if (!holds) {
        fail_msg("%s (%s), %s: %s", one.name.c_str(), one.verdict.c_str(), where,
                 refusal_text(refusal).code);
    }
}

void there_are_cases_of_each_kind(void**) {
    size_t accepted = 0;
    const std::vector<Case> cases = read_cases();
    for (const Case& one : cases) {
        accepted += one.verdict == "yes" ? 1 : 0;
    }
    assert_true(accepted >= 80 && cases.size() - accepted >= 200);
}

void as_a_value_in_log_data(void**) {
    for (const Case& one : read_cases()) {
        const Refusal refusal = parse(R"({"device_id":"d","log_level":"INFO","message":"m",)"
                                      R"("log_data":{"v":)" +
                                      one.text + "}}")
                                    .refusal;
        require(one.verdict == "yes" ? refusal == Refusal::kNone
                : one.verdict == "*" ? is_broken(refusal)
                                     : one.verdict == refusal_text(refusal).code,
                one, "in log_data", refusal);
    }
}

// No value is a record, so what is good JSON is refused for that.
void as_a_whole_body(void**) {
    for (const Case& one : read_cases()) {
        const Refusal refusal = parse(one.text).refusal;
        require(one.verdict == "yes" ? refusal != Refusal::kNone && !is_broken(refusal)
                : one.verdict == "*" ? is_broken(refusal)
                                     : one.verdict == refusal_text(refusal).code,
                one, "as a body", refusal);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(there_are_cases_of_each_kind),
        cmocka_unit_test(as_a_value_in_log_data),
        cmocka_unit_test(as_a_whole_body),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

#include "t/stress/check.hpp"

#include <simdjson.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/clock.hpp"
#include "daemon/commands/progress.hpp"
#include "t/stress/client.hpp"

namespace sluice::stress {
namespace {

constexpr useconds_t kLookUs = 500 * 1000;
// "2024-11-14T10:30:00": what is left of a time that is cut to the second.
constexpr size_t kToTheSecond = 19;

// Times of the same form are in the order of their text.
std::string settled_to(const Options& options, std::string* error) {
    std::string body;
    const GetAnswer answer = get(options, "/api/logs?order=asc&limit=1&from=-1s",
                                 [&body](std::string_view bytes) { body.append(bytes); });
    error->clear();
    if (answer.status != 200 || !answer.error.empty()) {
        *error = "GET /api/logs: " +
                 (answer.status == 0 ? answer.error : std::to_string(answer.status) + " " + body);
        return {};
    }
    simdjson::dom::parser parser;
    std::string_view settled;
    if (parser.parse(body)["settled_to"].get(settled) != simdjson::SUCCESS) {
        return {};
    }
    return std::string(settled);
}

// Until everything that was received by then is stored, and nothing is on its way any more.
std::string wait_drained(const Options& options, const std::string& last) {
    const int64_t until_us = steady_us() + static_cast<int64_t>(options.drain_seconds) * 1000000;
    std::string error;
    while (settled_to(options, &error) <= last) {
        if (steady_us() > until_us) {
            return error.empty() ? "what was sent until " + last + " is not all stored after " +
                                       std::to_string(options.drain_seconds) + " s"
                                 : error;
        }
        usleep(kLookUs);
    }
    return {};
}

// Lines of a file, as pieces of it arrive.
class Lines {
  public:
    template <typename OnLine>
    void take(std::string_view bytes, const OnLine& on_line) {
        for (size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
            begun_.append(bytes.substr(0, end));
            on_line(&begun_);
            begun_.clear();
            bytes.remove_prefix(end + 1);
        }
        begun_.append(bytes);
    }

  private:
    std::string begun_;
};

class Stored {
  public:
    Stored(const Records& records, const Outcomes& outcomes)
        : records_(records),
          prefix_(records.device_prefix()),
          times_(outcomes.of_records().size()) {}

    void take_line(std::string* line) {
        simdjson::dom::element row;
        std::string_view device;
        uint64_t number = 0;
        line->reserve(line->size() + simdjson::SIMDJSON_PADDING);
        if (parser_.parse(line->data(), line->size(), false).get(row) != simdjson::SUCCESS ||
            row["device_id"].get(device) != simdjson::SUCCESS ||
            device.substr(0, prefix_.size()) != prefix_) {
            return;  // somebody else's
        }
        if (row["log_data"]["number"].get(number) != simdjson::SUCCESS || number >= times_.size()) {
            ++changed;
            return;
        }
        times_[number] = static_cast<uint8_t>(std::min(times_[number] + 1, 2));
        changed += is_as_sent(row, number) ? 0 : 1;
    }

    // As it was sent: what Postgres makes of JSON has the same members with the same values.
    bool is_as_sent(const simdjson::dom::element& row, uint64_t number) {
        const std::string_view device = row["device_id"];
        expected_.clear();
        records_.append_record(strtoull(device.data() + prefix_.size(), nullptr, 10), number,
                               &expected_);
        expected_.reserve(expected_.size() + simdjson::SIMDJSON_PADDING);
        const simdjson::dom::element sent =
            expected_parser_.parse(expected_.data(), expected_.size(), false);
        for (const char* name : {"device_id", "log_level", "message"}) {
            if (std::string_view(sent[name]) != std::string_view(row[name])) {
                return false;
            }
        }
        const simdjson::dom::object data = sent["log_data"];
        const simdjson::dom::object found = row["log_data"];
        for (const auto member : data) {
            simdjson::dom::element value;
            if (found[member.key].get(value) != simdjson::SUCCESS ||
                simdjson::minify(value) != simdjson::minify(member.value)) {
                return false;
            }
        }
        return found.size() == data.size();
    }

    void judge(const Outcomes& outcomes, CheckFigures* figures) const {
        for (size_t number = 0; number < times_.size(); ++number) {
            const Outcome outcome = outcomes.of_records()[number];
            const uint8_t times = times_[number];
            figures->stored += times > 0 ? 1 : 0;
            figures->twice += times > 1 && outcome != Outcome::kResent ? 1 : 0;
            figures->lost +=
                times == 0 && (outcome == Outcome::kAcknowledged || outcome == Outcome::kResent)
                    ? 1
                    : 0;
            figures->unknown += times > 0 && outcome == Outcome::kUnknown ? 1 : 0;
            figures->uncalled +=
                times > 0 && (outcome == Outcome::kRefused || outcome == Outcome::kNotSent) ? 1 : 0;
        }
        figures->changed = changed;
    }

    uint64_t changed = 0;

  private:
    const Records& records_;
    std::string prefix_;
    std::vector<uint8_t> times_;  // each was found: 0, 1, or 2 for more
    std::string expected_;
    simdjson::dom::parser parser_;
    simdjson::dom::parser expected_parser_;
};

}  // namespace

CheckFigures check_stored(const Options& options, const Records& records,
                          const Outcomes& outcomes) {
    CheckFigures figures;
    if (outcomes.first_received_at().empty()) {
        figures.error = "nothing was acknowledged";
        return figures;
    }
    figures.asked = true;
    const int64_t began_us = steady_us();
    figures.error = wait_drained(options, outcomes.last_received_at());
    figures.drain_seconds = static_cast<double>(steady_us() - began_us) / 1e6;
    if (!figures.error.empty()) {
        return figures;
    }
    Stored stored(records, outcomes);
    Lines lines;
    uint64_t rows = 0;
    Progress progress("rows read back", 0);
    // Frames have milliseconds.
    const std::string from = outcomes.first_received_at().substr(0, kToTheSecond) + "Z";
    std::string refusal;
    const GetAnswer answer =
        get(options, "/api/logs?format=ndjson&from=" + from, [&](std::string_view bytes) {
            refusal.assign(bytes.substr(0, 500));
            lines.take(bytes, [&](std::string* line) {
                stored.take_line(line);
                progress.at(++rows);
            });
        });
    if (answer.status != 200 || !answer.error.empty()) {
        figures.error =
            "GET /api/logs?format=ndjson: " +
            (answer.error.empty() ? std::to_string(answer.status) + " " + refusal : answer.error);
        return figures;
    }
    stored.judge(outcomes, &figures);
    return figures;
}

}  // namespace sluice::stress

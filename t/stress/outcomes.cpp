#include "t/stress/outcomes.hpp"

#include <simdjson.h>

#include <algorithm>

namespace sluice::stress {
namespace {

// The text value of a member, by its name: all that has to be known of most answers.
std::string_view member_of(std::string_view text, std::string_view name) {
    const size_t at = text.find(name);
    if (at == std::string_view::npos) {
        return {};
    }
    const std::string_view value = text.substr(at + name.size());
    return value.substr(0, value.find('"'));
}

// What a proxy in between says may come after the request went through.
bool says_that_nothing_was_stored(int status, std::string_view code) {
    return !code.empty() && code != "outcome_unknown" && status >= 400;
}

}  // namespace

void Outcomes::set(uint64_t first, uint64_t count, Outcome outcome) {
    if (of_records_.size() < first + count) {
        of_records_.resize(first + count, Outcome::kNotSent);
    }
    std::fill_n(of_records_.begin() + static_cast<ptrdiff_t>(first), count, outcome);
}

void Outcomes::ended(const Request& request, const Ending& ending) {
    ++requests_;
    if (ending.status == kTaken) {
        taken(request, ending);
        return;
    }
    const std::string_view code = member_of(ending.text, "\"code\":\"");
    const bool answered = ending.status != 0;
    // What was sent before may have been stored, whatever the answer to it is.
    const bool refused = answered
                             ? says_that_nothing_was_stored(ending.status, code) && !ending.resent
                             : !ending.sent;
    set(request.first, request.count, refused ? Outcome::kRefused : Outcome::kUnknown);
    std::string name = answered ? std::to_string(ending.status) + " " : "no answer: ";
    name += !answered ? ending.text : code.empty() ? "(no code)" : code;
    ++failures_[name];
}

void Outcomes::taken(const Request& request, const Ending& ending) {
    ++requests_taken_;
    set(request.first, request.count, ending.resent ? Outcome::kResent : Outcome::kAcknowledged);
    const std::string_view at = member_of(ending.text, "\"received_at\":\"");
    if (first_.empty() || at < first_) {
        first_ = at;
    }
    last_ = std::max(last_, std::string(at));
    if (ending.text.find("\"rejected\":") != std::string_view::npos) {
        set_rejected(request, ending);
        ++failures_["200, some records refused"];
    }
}

// A batch of which only some were taken: single ones with errors, and ranges held back by limits.
void Outcomes::set_rejected(const Request& request, const Ending& ending) {
    const Outcome outcome = ending.resent ? Outcome::kUnknown : Outcome::kRefused;
    simdjson::dom::parser parser;
    const simdjson::dom::element answer = parser.parse(ending.text.data(), ending.text.size());
    simdjson::dom::array errors;
    if (answer["errors"].get(errors) == simdjson::SUCCESS) {
        for (const simdjson::dom::element error : errors) {
            set(request.first + uint64_t(error["index"]), 1, outcome);
        }
    }
    simdjson::dom::array ranges;
    if (answer["withheld"]["indexes"].get(ranges) == simdjson::SUCCESS) {
        for (const simdjson::dom::element range : ranges) {
            const uint64_t from = range.at(0);
            const uint64_t to = range.at(1);
            set(request.first + from, to - from + 1, outcome);
        }
    }
}

uint64_t Outcomes::count(Outcome outcome) const {
    return static_cast<uint64_t>(std::count(of_records_.begin(), of_records_.end(), outcome));
}

}  // namespace sluice::stress

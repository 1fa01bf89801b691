#include "t/stress/report.hpp"

#include <algorithm>
#include <cstdio>

#include "daemon/commands/human.hpp"
#include "daemon/commands/json_out.hpp"

namespace sluice::stress {
namespace {

std::string ms(double value) {
    char text[32];
    snprintf(text, sizeof text, value < 10 ? "%.2f" : "%.1f", value);
    return text;
}

std::string row(const char* name, const std::string& value) {
    char head[24];
    snprintf(head, sizeof head, "%-14s", name);
    return head + value + "\n";
}

std::string count(double value) {
    return human_count(static_cast<uint64_t>(value));
}

std::string stored_text(const Outcomes& outcomes, const CheckFigures& check) {
    if (!check.error.empty()) {
        return "not known: " + check.error;
    }
    std::string text = check.good() ? "every acknowledged record is there once, as it was sent: "
                                    : "NOT as it was said: ";
    text += human_count(check.stored) + " stored of " + human_count(outcomes.acknowledged()) +
            " acknowledged; lost " + human_count(check.lost) + ", twice " +
            human_count(check.twice) + ", refused and there " + human_count(check.uncalled) +
            ", changed " + human_count(check.changed);
    if (outcomes.count(Outcome::kUnknown) != 0) {
        text += "; of unknown outcome and there " + human_count(check.unknown);
    }
    return text + "; known to be complete after " + human_seconds(check.drain_seconds);
}

}  // namespace

double Report::records_per_s() const {
    return load.seconds <= 0 ? 0 : static_cast<double>(outcomes.acknowledged()) / load.seconds;
}

// No more than is sent.
uint64_t Report::wanted_per_s() const {
    return options.rate == 0 ? options.goal_rate : std::min(options.rate, options.goal_rate);
}

bool Report::rate_met() const {
    // With a rate to keep, an end is never on time to the microsecond.
    return records_per_s() >=
           static_cast<double>(wanted_per_s()) * (options.rate == wanted_per_s() ? 0.99 : 1);
}

bool Report::p95_met() const {
    return load.latency.count() != 0 &&
           load.latency.percentile_ms(95) <= static_cast<double>(options.goal_p95_ms);
}

bool Report::good() const {
    return rate_met() && p95_met() && (!options.check || check.good());
}

std::string Report::text() const {
    const Latency& latency = load.latency;
    std::string text =
        row("run", run + ": " + human_count(options.devices) + " devices, " +
                       (options.batch == 0 ? std::string("single records")
                                           : "batches of " + human_count(options.batch)) +
                       ", " + human_count(options.connections) + " connections, " +
                       human_seconds(load.seconds));
    text +=
        row("records", human_count(outcomes.of_records().size()) +
                           " sent: " + human_count(outcomes.acknowledged()) + " acknowledged, " +
                           human_count(outcomes.count(Outcome::kRefused)) + " refused, " +
                           human_count(outcomes.count(Outcome::kUnknown)) + " unknown" +
                           (outcomes.count(Outcome::kResent) == 0
                                ? ""
                                : "; of these " + human_count(outcomes.count(Outcome::kResent)) +
                                      " sent twice, as a connection ended"));
    text += row("requests", human_count(outcomes.requests()) + ": " +
                                human_count(outcomes.requests_taken()) + " with 200");
    for (const auto& [name, times] : outcomes.failures()) {
        text += row("", human_count(times) + " x " + printable(name, terminal_reads_utf8()));
    }
    text += row("throughput", count(records_per_s()) + " records/s, " +
                                  count(static_cast<double>(outcomes.requests()) / load.seconds) +
                                  " requests/s");
    text +=
        row("latency, ms",
            latency.count() == 0
                ? "not known: nothing was taken"
                : "min " + ms(latency.min_ms()) + "  avg " + ms(latency.average_ms()) + "  p50 " +
                      ms(latency.percentile_ms(50)) + "  p95 " + ms(latency.percentile_ms(95)) +
                      "  p99 " + ms(latency.percentile_ms(99)) + "  max " + ms(latency.max_ms()));
    text += row("goals", human_count(wanted_per_s()) +
                             " records/s: " + (rate_met() ? "met" : "NOT met") + "; p95 at most " +
                             human_count(options.goal_p95_ms) +
                             " ms: " + (p95_met() ? "met" : "NOT met"));
    if (options.check) {
        text += row("stored", stored_text(outcomes, check));
    }
    return text;
}

std::string Report::json() const {
    const Latency& latency = load.latency;
    JsonOut out;
    out.open('{').key("run").string(run).key("good").boolean(good());
    out.key("seconds").number(load.seconds);
    out.key("records").open('{');
    out.key("sent").number(uint64_t{outcomes.of_records().size()});
    out.key("acknowledged").number(outcomes.acknowledged());
    out.key("refused").number(outcomes.count(Outcome::kRefused));
    out.key("unknown").number(outcomes.count(Outcome::kUnknown));
    out.key("sent_twice").number(outcomes.count(Outcome::kResent));
    out.key("per_second").number(records_per_s()).close('}');
    out.key("requests").open('{').key("sent").number(outcomes.requests());
    out.key("acknowledged").number(outcomes.requests_taken());
    out.key("failures").open('{');
    for (const auto& [name, times] : outcomes.failures()) {
        out.key(name).number(times);
    }
    out.close('}').close('}').key("latency_ms");
    if (latency.count() == 0) {
        out.null();
    } else {
        out.open('{').key("min").number(latency.min_ms());
        out.key("average").number(latency.average_ms());
        for (const unsigned percent : {50, 95, 99}) {
            out.key("p" + std::to_string(percent)).number(latency.percentile_ms(percent));
        }
        out.key("max").number(latency.max_ms()).close('}');
    }
    out.key("goals").open('{');
    out.key("records_per_second").open('{').key("wanted").number(wanted_per_s());
    out.key("met").boolean(rate_met()).close('}');
    out.key("p95_ms").open('{').key("wanted").number(options.goal_p95_ms);
    out.key("met").boolean(p95_met()).close('}').close('}');
    out.key("stored");
    if (!options.check || !check.error.empty()) {
        out.null();
        if (options.check) {
            out.key("error").string(check.error);
        }
        return out.close('}').text();
    }
    out.open('{').key("records").number(check.stored).key("lost").number(check.lost);
    out.key("twice").number(check.twice).key("refused_and_there").number(check.uncalled);
    out.key("unknown_and_there").number(check.unknown).key("changed").number(check.changed);
    out.key("complete_after_seconds").number(check.drain_seconds).close('}');
    return out.close('}').text();
}

}  // namespace sluice::stress

#include "t/stress/options.hpp"

#include "daemon/commands/arguments.hpp"

namespace sluice::stress {

const char* const kHelp =
    R"(scripts/stress [URL] [OPTION]...: devices that send logs to a Sluice, and what became of them.

Each record has an identity of its own. At the end the system is asked itself whether each that it
acknowledged is stored exactly once, as it was sent, and none that it refused.

  URL                  of the edge (http://127.0.0.1:18723)
  --devices N          how many devices (100)
  --records N          records of each device (1000)
  --batch N            records in a request, by /api/logs/batch; else one, by /api/log
  --connections N      requests under way at once, at most (64)
  --rate N             records a second in all; else as fast as they are taken. Latency is then
                       measured from when a request was due
  --seconds N          ends after so long, whatever has been sent; without --records there is no
                       other end
  --gzip               bodies are compressed
  --header TEXT        with every request: 'Authorization: Bearer ...'
  --goal-rate N        records acknowledged a second (10000; with a --rate below, that)
  --goal-p95 MS        of requests that are taken (100)
  --no-check           does not ask what is stored
  --drain-seconds N    how long to wait until what was acknowledged is stored (300)
  --json FILE          the report as JSON, too; - is standard output

Ctrl-C ends the load: what was sent by then is reported, and looked for.

Exit code: 0 if the goals were met and every record is where it should be, 1 if not, 2 if it could
not be tried.
)";

Options parse_options(const std::vector<std::string>& given) {
    const Arguments arguments(given, {{"--devices", true},
                                      {"--records", true},
                                      {"--batch", true},
                                      {"--connections", true},
                                      {"--rate", true},
                                      {"--seconds", true},
                                      {"--gzip", false},
                                      {"--header", true},
                                      {"--goal-rate", true},
                                      {"--goal-p95", true},
                                      {"--no-check", false},
                                      {"--drain-seconds", true},
                                      {"--json", true}});
    constexpr int64_t kMany = 1000000000;
    const Options defaults;
    const auto number = [&](const char* name, int64_t least, int64_t most, uint64_t fallback) {
        return static_cast<uint64_t>(
            arguments.number(name, least, most, static_cast<int64_t>(fallback)));
    };
    if (arguments.words().size() > 1) {
        throw UsageError("one URL, please: " + arguments.words()[1] + " is one too many");
    }
    Options options;
    if (!arguments.words().empty()) {
        options.url = arguments.words()[0];
    }
    while (!options.url.empty() && options.url.back() == '/') {
        options.url.pop_back();
    }
    if (options.url.rfind("http://", 0) != 0 && options.url.rfind("https://", 0) != 0) {
        throw UsageError("the URL must begin with http:// or https://: " + options.url);
    }
    options.devices = number("--devices", 1, 10000000, defaults.devices);
    options.seconds = number("--seconds", 1, 1000000, defaults.seconds);
    const bool endless = options.seconds != 0 && !arguments.has("--records");
    options.records = number("--records", 1, kMany, endless ? kMany : defaults.records);
    options.batch = number("--batch", 1, 1000000, defaults.batch);
    options.connections = number("--connections", 1, 10000, defaults.connections);
    options.rate = number("--rate", 1, kMany, defaults.rate);
    options.gzip = arguments.has("--gzip");
    options.header = arguments.value("--header");
    options.check = !arguments.has("--no-check");
    options.drain_seconds = number("--drain-seconds", 1, 1000000, defaults.drain_seconds);
    options.goal_rate = number("--goal-rate", 0, kMany, defaults.goal_rate);
    options.goal_p95_ms = number("--goal-p95", 1, kMany, defaults.goal_p95_ms);
    options.json = arguments.value("--json");
    return options;
}

}  // namespace sluice::stress

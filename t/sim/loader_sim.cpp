// loader_sim --seeds FROM..TO      runs the schedules of these seeds, the last one included
// loader_sim --seed N [--trace]    runs one, and shows what happened
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "t/sim/schedule.hpp"

namespace sluice::sim {
namespace {

int usage() {
    fputs("usage: loader_sim --seeds FROM..TO | --seed N [--trace]\n", stderr);
    return 2;
}

bool run_seed(uint64_t seed, bool traced, Tally* tally) {
    try {
        Schedule(seed, traced).run(tally);
        return true;
    } catch (const Violation& violation) {
        printf("seed %" PRIu64 ": %s\n", seed, violation.what());
        return false;
    }
}

int run(uint64_t first, uint64_t last, bool traced) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point began = Clock::now();
    Tally tally;
    for (uint64_t seed = first; seed <= last; ++seed) {
        if (!run_seed(seed, traced, &tally)) {
            return 1;
        }
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
    printf("%" PRIu64 " schedules in %.1f s, %.0f a second: %" PRIu64 " moves, %" PRIu64
           " faults; %" PRIu64 " frames sent, %" PRIu64 " stored, %" PRIu64 " lost by redis\n",
           tally.schedules, seconds, static_cast<double>(tally.schedules) / seconds, tally.moves,
           tally.faults, tally.frames_sent, tally.frames_stored, tally.frames_lost);
    return 0;
}

int main(int argc, char** argv) {
    char* end = nullptr;
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) {
        const uint64_t first = strtoull(argv[2], &end, 10);
        if (strncmp(end, "..", 2) != 0) {
            return usage();
        }
        return run(first, strtoull(end + 2, nullptr, 10), false);
    }
    const bool traced = argc == 4 && strcmp(argv[3], "--trace") == 0;
    if ((argc == 3 || traced) && strcmp(argv[1], "--seed") == 0) {
        const uint64_t seed = strtoull(argv[2], &end, 10);
        return run(seed, seed, traced);
    }
    return usage();
}

}  // namespace
}  // namespace sluice::sim

int main(int argc, char** argv) {
    return sluice::sim::main(argc, argv);
}

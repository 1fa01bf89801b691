#include "daemon/load/load_metrics.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "daemon/metrics_page.hpp"

namespace sluice {
namespace {

constexpr const char* kDeadRowNames[kDeadRows] = {"data", "constraint", "limit"};

void write_counts(const LoadCounts& counts, MetricsText* text) {
    text->counter("sluice_loader_rows_total", "Records stored.", counts.rows_stored);
    text->counter("sluice_loader_frames_total", "Frames stored.", counts.frames_stored);
    text->counter("sluice_loader_duplicate_frames_total",
                  "Frames that came again and were not stored again.", counts.frames_duplicate);
    text->counter("sluice_loader_plain_entries_total", "Entries of other producers that were read.",
                  counts.entries_plain);
    text->counter("sluice_loader_claimed_entries_total",
                  "Entries taken over that another consumer had read and left.",
                  counts.entries_claimed);
    text->counter("sluice_loader_acknowledged_entries_total", "Entries acknowledged.",
                  counts.entries_acked);
    text->counter("sluice_loader_trimmed_entries_total", "Entries trimmed from the stream.",
                  counts.entries_trimmed);
    text->counter("sluice_loader_lost_entries_total",
                  "Entries that vanished before they were stored: acknowledged records are lost.",
                  counts.entries_gone);
    text->counter("sluice_loader_unknown_version_entries_total",
                  "Entries of a newer version, which stay in the stream.",
                  counts.entries_unknown_version);
    text->counter("sluice_loader_clamped_times_total",
                  "Frames stored at the bound of the times that can be stored.",
                  counts.times_clamped);
    text->counter("sluice_loader_late_frames_total",
                  "Frames stored when readers may have been told that their time is settled.",
                  counts.frames_late);
    text->counter("sluice_loader_state_losses_total",
                  "Times that Redis was found to have lost what it had.", counts.state_losses);
    text->family("sluice_loader_dead_letters_total", "counter",
                 "Dead letters: rows by why Postgres refused them (SQLSTATEs 22, 23, 54), and"
                 " entries that are damaged or against a rule.");
    for (size_t i = 0; i < kDeadRows; ++i) {
        text->sample("reason", kDeadRowNames[i], counts.rows_dead_by[i]);
    }
    text->sample("reason", "entry", counts.entries_dead);
}

void write_troubles(const LoadCounts& counts, MetricsText* text) {
    text->family("sluice_loader_redis_retries_total", "counter",
                 "What is tried again because of Redis, by what came of it.");
    for (size_t i = 1; i < kRedisStatuses; ++i) {
        text->sample("class", name_of(static_cast<RedisStatus>(i)), counts.redis_answers[i]);
    }
    text->family("sluice_loader_postgres_retries_total", "counter",
                 "What is tried again because of Postgres, by what came of it.");
    for (size_t i = 1; i < kPgStatuses; ++i) {
        text->sample("class", name_of(static_cast<PgStatus>(i)), counts.pg_answers[i]);
    }
    text->counter("sluice_loader_refused_batches_total",
                  "Times that Postgres refused a batch whatever its rows.", counts.batches_refused);
    text->counter("sluice_loader_careful_batches_total",
                  "Times that a batch was searched for rows that Postgres refuses.",
                  counts.batches_careful);
}

void write_histograms(const LoadHistograms& histograms, MetricsText* text) {
    text->family("sluice_loader_receipt_to_stored_seconds", "histogram",
                 "Records, by the time from their receipt at the edge to their commit.");
    histograms.way_ms.write(1000, text);
    text->family("sluice_loader_batch_rows", "histogram", "Batches committed, by their records.");
    histograms.batch_rows.write(1, text);
    text->family("sluice_loader_batch_bytes", "histogram",
                 "Batches committed, by the bytes of their rows.");
    histograms.batch_bytes.write(1, text);
    text->family("sluice_loader_batch_seconds", "histogram",
                 "Batches committed, by the time of their transaction.");
    histograms.batch_us.write(1000000, text);
}

void write_backlog(const LoadFigures& figures, MetricsText* text) {
    text->gauge("sluice_loader_backlog_entries",
                "Entries that wait for the group: to be read, or to be stored.",
                figures.backlog_entries);
    text->gauge("sluice_loader_backlog_records", "Records in them, an estimate.",
                figures.backlog.records);
    text->gauge("sluice_loader_backlog_bytes", "Bytes of their rows, an estimate.",
                figures.backlog.bytes);
    text->gauge("sluice_loader_pending_entries",
                "Entries that a consumer of the group was given and has not acknowledged.",
                figures.pending);
}

void write_state(const LoadFigures& figures, MetricsText* text) {
    text->gauge("sluice_loader_consumers", "Consumers of this loader.", figures.consumers);
    text->gauge("sluice_loader_postgres_up", "How many of them Postgres answers.",
                figures.postgres_up);
    text->family("sluice_loader_connections", "gauge", "Connections that they have.");
    text->sample("to", "redis", figures.redis_connections);
    text->sample("to", "postgres", figures.postgres_connections);
    text->gauge("sluice_loader_buffered_bytes", "Memory of the batches that are read or stored.",
                figures.buffered_bytes);
    text->gauge("sluice_loader_drain_records_per_second",
                "Records stored a second, while there are any to store.", figures.drain.records);
    text->family("sluice_loader_edge_clock_skew_seconds", "gauge",
                 "How far the clock of any edge was off Redis' in the last minute; behind includes"
                 " the way to Redis.");
    text->sample("side", "ahead", static_cast<uint64_t>(figures.edges_ahead_ms), 1000);
    text->sample("side", "behind", static_cast<uint64_t>(figures.edges_behind_ms), 1000);
    text->counter("sluice_loader_last_seen_left_out_rows_total",
                  "Rows that did not count for when a device was seen last, as others sent.",
                  figures.last_seen_left_out);
    if (figures.backlog_known) {
        write_backlog(figures, text);
    }
}

void write_durability(const PgDurability& durability, MetricsText* text) {
    text->sample("setting", "fsync", durability.fsync ? 1 : 0);
    text->sample("setting", "full_page_writes", durability.full_page_writes ? 1 : 0);
}

void write_redis(const RedisWatchFigures& redis, MetricsText* text) {
    text->gauge("sluice_loader_redis_durability",
                "What Redis gives: 0 unknown or unsafe, 1 memory, 2 everysec, 3 fsync.",
                static_cast<uint64_t>(redis.given));
    text->gauge("sluice_loader_redis_durability_required", "What redis.durability asks for.",
                static_cast<uint64_t>(redis.required));
}

void write_keeper(const KeeperFigures& keeper, MetricsText* text) {
    text->family("sluice_loader_postgres_setting", "gauge",
                 "Whether what a commit rests on is on, looked at each quarter of a minute.");
    write_durability(keeper.durability, text);
    text->family("sluice_loader_postgres_setting_required", "gauge",
                 "Whether postgres.durability asks for it.");
    write_durability(keeper.required, text);
    text->family("sluice_loader_partitions", "gauge", "Partitions of a table.");
    text->sample("table", "logs", static_cast<uint64_t>(keeper.partitions.logs));
    text->sample("table", "ledger", static_cast<uint64_t>(keeper.partitions.ledger));
    text->gauge("sluice_loader_tomorrow_partition", "Whether logs has a partition for tomorrow.",
                keeper.partitions.tomorrow ? 1 : 0);
}

}  // namespace

void LoadCounts::add(const LoadCounts& other) noexcept {
    constexpr size_t kNumbers = sizeof(LoadCounts) / sizeof(uint64_t);
    static_assert(sizeof(LoadCounts) == kNumbers * sizeof(uint64_t) &&
                  std::has_unique_object_representations_v<LoadCounts>);
    uint64_t sums[kNumbers];
    uint64_t more[kNumbers];
    memcpy(sums, this, sizeof sums);
    memcpy(more, &other, sizeof more);
    for (size_t i = 0; i < kNumbers; ++i) {
        sums[i] += more[i];
    }
    memcpy(this, sums, sizeof sums);
}

void LoadFigures::add(const LoadCounts& more_counts, const LoadHistograms& more_histograms,
                      const LoadGauges& gauges) {
    ++consumers;
    redis_connections += gauges.redis_connected ? 1 : 0;
    postgres_connections += gauges.postgres_connected ? 1 : 0;
    postgres_up += gauges.state.postgres_up ? 1 : 0;
    counts.add(more_counts);
    histograms.add(more_histograms);
    drain.records += gauges.state.drain.records;
    drain.bytes += gauges.state.drain.bytes;
    buffered_bytes += gauges.buffered_bytes;
    edges_ahead_ms = std::max(edges_ahead_ms, gauges.edges_ahead_ms);
    edges_behind_ms = std::max(edges_behind_ms, gauges.edges_behind_ms);
    if (gauges.state.backlog_known) {
        backlog_known = true;
        backlog_entries = gauges.state.backlog_entries;
        backlog = gauges.state.backlog;
        pending = gauges.pending;
    }
}

std::string load_metrics(const std::string& name, const LoadFigures& figures,
                         const KeeperFigures& keeper) {
    return metrics_page(metrics_label("loader", name), [&](MetricsText* text) {
        write_counts(figures.counts, text);
        write_troubles(figures.counts, text);
        write_histograms(figures.histograms, text);
        write_state(figures, text);
        if (keeper.redis.known) {
            write_redis(keeper.redis, text);
        }
        if (keeper.known) {
            write_keeper(keeper, text);
        }
    });
}

}  // namespace sluice

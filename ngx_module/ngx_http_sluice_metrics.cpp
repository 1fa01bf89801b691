/*
 * A location with "sluice_metrics": what all workers have counted since the zone was made, as
 * Prometheus text.
 */

#include "ngx_http_sluice_metrics.hpp"

#include "common/metrics_text.hpp"
#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_breaker.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_global.hpp"
#include "ngx_http_sluice_limit.hpp"
#include "ngx_http_sluice_shed.hpp"
#include "ngx_http_sluice_zone.hpp"


#define NGX_HTTP_SLUICE_METRICS_BYTES        (24 * 1024)
#define NGX_HTTP_SLUICE_METRICS_LIMIT_BYTES  (2 * 1024)


static void ngx_http_sluice_metrics_sum(const ngx_http_sluice_zone_t *zone,
    ngx_http_sluice_counters_t *sum);
static void ngx_http_sluice_metrics_requests(sluice::MetricsText &text,
    const ngx_http_sluice_counters_t &sum);
static void ngx_http_sluice_metrics_frames(sluice::MetricsText &text,
    const ngx_http_sluice_counters_t &sum);
static void ngx_http_sluice_metrics_redis(sluice::MetricsText &text,
    const ngx_http_sluice_counters_t &sum);
static void ngx_http_sluice_metrics_queries(sluice::MetricsText &text,
    const ngx_http_sluice_counters_t &sum);
static void ngx_http_sluice_metrics_limits(sluice::MetricsText &text);
static void ngx_http_sluice_metrics_global(sluice::MetricsText &text);
static void ngx_http_sluice_metrics_shed(sluice::MetricsText &text,
    const ngx_http_sluice_counters_t &sum);


static void
ngx_http_sluice_metrics_number(sluice::MetricsText &text, std::string_view name,
    std::string_view type, std::string_view help, uint64_t number)
{
    text.family(name, type, help);
    text.sample("", "", number);
}


ngx_int_t
ngx_http_sluice_metrics_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_buf_t                  *b;
    ngx_str_t                   type = ngx_string("text/plain; version=0.0.4");
    ngx_http_sluice_counters_t  sum;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    b = ngx_create_temp_buf(r->pool, NGX_HTTP_SLUICE_METRICS_BYTES
                                     + ngx_http_sluice_worker.conf->limit_zones.nelts
                                       * NGX_HTTP_SLUICE_METRICS_LIMIT_BYTES);
    if (b == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ngx_http_sluice_metrics_sum(ngx_http_sluice_worker.zone, &sum);

    sluice::MetricsText  text(reinterpret_cast<char *>(b->pos), b->end - b->pos);

    ngx_http_sluice_metrics_requests(text, sum);
    ngx_http_sluice_metrics_frames(text, sum);
    ngx_http_sluice_metrics_redis(text, sum);
    ngx_http_sluice_metrics_queries(text, sum);
    ngx_http_sluice_metrics_limits(text);
    ngx_http_sluice_metrics_global(text);
    ngx_http_sluice_metrics_shed(text, sum);

    if (!text.fits()) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0, "metrics do not fit their buffer");
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    b->last = b->pos + text.size();

    return ngx_http_sluice_answer_send(r, NGX_HTTP_OK, type, b);
}


/* Every member but the owner is a counter or a gauge of the same width. */

static void
ngx_http_sluice_metrics_sum(const ngx_http_sluice_zone_t *zone, ngx_http_sluice_counters_t *sum)
{
    const ngx_atomic_t          *from;
    ngx_atomic_t                *to = reinterpret_cast<ngx_atomic_t *>(sum);
    ngx_http_sluice_counters_t   slot;

    ngx_memzero(sum, sizeof(ngx_http_sluice_counters_t));
    from = reinterpret_cast<const ngx_atomic_t *>(&slot);

    for (const ngx_http_sluice_counters_t &shared : zone->counters) {
        slot = shared;

        if (slot.owner != 0 && !ngx_http_sluice_counters_owner_lives(slot.owner)) {
            /* what it held is gone with it; what it counted is not */
            slot.inflight_requests = 0;
            slot.inflight_bytes = 0;
            slot.inflight_frames = 0;
        }

        for (size_t i = 0; i < sizeof(slot) / sizeof(ngx_atomic_t); i++) {
            to[i] = to[i] + from[i];
        }
    }
}


static void
ngx_http_sluice_metrics_requests(sluice::MetricsText &text, const ngx_http_sluice_counters_t &sum)
{
    text.family("sluice_edge_requests_total", "counter",
                "POSTs answered, by code: queued, or that of the problem.");
    for (ngx_uint_t code = 0; code < NGX_HTTP_SLUICE_CODES; code++) {
        if (code == NGX_HTTP_SLUICE_TROUBLES
                    + static_cast<ngx_uint_t>(sluice::Refusal::kNoMemory))
        {
            /* counted as the trouble of that name */
            continue;
        }
        text.sample("code", ngx_http_sluice_code_name(code), sum.answers[code]);
    }

    ngx_http_sluice_metrics_number(text, "sluice_edge_requests_abandoned_total", "counter",
        "POSTs whose client went away before the answer.", sum.abandoned);
    ngx_http_sluice_metrics_number(text, "sluice_edge_records_total", "counter",
        "Records answered with 200.", sum.records);

    text.family("sluice_edge_bad_records_total", "counter",
                "Records that were refused or left out, by what was wrong with them first.");
    for (ngx_uint_t i = static_cast<ngx_uint_t>(sluice::Refusal::kRecordNotAnObject);
         i < static_cast<ngx_uint_t>(sluice::Refusal::kNoMemory); i++)
    {
        text.sample("code", sluice::refusal_text(static_cast<sluice::Refusal>(i)).code,
                    sum.bad_records[i]);
    }

    ngx_http_sluice_metrics_number(text, "sluice_edge_body_bytes_total", "counter",
        "Bytes of bodies that were parsed.", sum.body_bytes);
    ngx_http_sluice_metrics_number(text, "sluice_edge_compressed_bytes_total", "counter",
        "Bytes of compressed bodies that were inflated.", sum.compressed_bytes);
    ngx_http_sluice_metrics_number(text, "sluice_edge_inflated_bytes_total", "counter",
        "Bytes that they were inflated to.", sum.inflated_bytes);
    ngx_http_sluice_metrics_number(text, "sluice_edge_nuls_replaced_total", "counter",
        "Escaped NULs that became U+FFFD.", sum.nuls_replaced);
    ngx_http_sluice_metrics_number(text, "sluice_edge_unknown_fields_total", "counter",
        "Fields that were ignored.", sum.unknown_fields);
    ngx_http_sluice_metrics_number(text, "sluice_edge_inflight_requests", "gauge",
        "POSTs that wait for Redis.", sum.inflight_requests);
    ngx_http_sluice_metrics_number(text, "sluice_edge_inflight_bytes", "gauge",
        "Bytes of their bodies, of rows that a limit holds, and what bodies being inflated take.",
        sum.inflight_bytes);
}


static void
ngx_http_sluice_metrics_frames(sluice::MetricsText &text, const ngx_http_sluice_counters_t &sum)
{
    uint64_t  counts[NGX_HTTP_SLUICE_RECORDS_BOUNDS + 1];

    static const char  *outcomes[NGX_HTTP_SLUICE_FRAME_OUTCOMES] = {
        "stored", "refused", "unknown", "not_sent", "resent"
    };

    text.family("sluice_edge_frames_total", "counter", "Frames, by outcome of each sending.");
    for (ngx_uint_t i = 0; i < NGX_HTTP_SLUICE_FRAME_OUTCOMES; i++) {
        text.sample("outcome", outcomes[i], sum.frames[i]);
    }

    ngx_http_sluice_metrics_number(text, "sluice_edge_row_bytes_total", "counter",
        "Bytes of rows that Redis stored.", sum.row_bytes);

    for (ngx_uint_t i = 0; i <= NGX_HTTP_SLUICE_RECORDS_BOUNDS; i++) {
        counts[i] = sum.frame_records[i];
    }

    text.family("sluice_edge_frame_records", "histogram", "Records of the frames stored.");
    text.histogram(ngx_http_sluice_records_bounds, counts, NGX_HTTP_SLUICE_RECORDS_BOUNDS,
                   sum.frame_records_sum, 1);
}


static void
ngx_http_sluice_metrics_redis(sluice::MetricsText &text, const ngx_http_sluice_counters_t &sum)
{
    uint64_t                       counts[NGX_HTTP_SLUICE_TIME_BOUNDS + 1];
    const ngx_http_sluice_zone_t  *zone = ngx_http_sluice_worker.zone;

    for (ngx_uint_t i = 0; i <= NGX_HTTP_SLUICE_TIME_BOUNDS; i++) {
        counts[i] = sum.redis_time[i];
    }

    text.family("sluice_edge_redis_seconds", "histogram",
                "From sending a frame to Redis' answer.");
    text.histogram(ngx_http_sluice_time_bounds, counts, NGX_HTTP_SLUICE_TIME_BOUNDS,
                   sum.redis_time_sum, 1000000);

    text.family("sluice_edge_redis_errors_total", "counter", "Errors that Redis answered.");
    for (ngx_uint_t i = 0; i < NGX_HTTP_SLUICE_ERRORS; i++) {
        text.sample("error", ngx_http_sluice_view(ngx_http_sluice_redis_error_names[i]),
                    sum.redis_errors[i]);
    }

    ngx_http_sluice_metrics_number(text, "sluice_edge_redis_connects_total", "counter",
        "Connections to Redis that became ready.", sum.redis_connects);
    ngx_http_sluice_metrics_number(text, "sluice_edge_redis_connect_failures_total", "counter",
        "Attempts to connect that failed.", sum.redis_connect_failures);
    ngx_http_sluice_metrics_number(text, "sluice_edge_redis_losses_total", "counter",
        "Connections to Redis that were lost.", sum.redis_losses);
    ngx_http_sluice_metrics_number(text, "sluice_edge_inflight_frames", "gauge",
        "Frames sent that Redis has not answered.", sum.inflight_frames);

    ngx_http_sluice_metrics_number(text, "sluice_edge_breaker_state", "gauge",
        "0 closed, 1 half open: Redis is being asked, 2 open.",
        static_cast<uint64_t>(ngx_http_sluice_breaker_state(ngx_http_sluice_worker.breaker)));

    text.family("sluice_edge_breaker_trips_total", "counter",
                "How often the breaker opened, by why it did.");
    for (ngx_uint_t i = 0; i < sluice::kBreakerReasons; i++) {
        text.sample("reason", ngx_http_sluice_breaker_reasons[i], sum.breaker_trips[i]);
    }

    ngx_http_sluice_metrics_number(text, "sluice_edge_durability", "gauge",
        "What Redis now gives: 0 unknown or unsafe, 1 memory, 2 everysec, 3 fsync.",
        ngx_http_sluice_durability(zone));
    ngx_http_sluice_metrics_number(text, "sluice_edge_durability_required", "gauge",
        "What sluice_durability asks for.", ngx_http_sluice_worker.conf->durability);
    ngx_http_sluice_metrics_number(text, "sluice_edge_postgres_up", "gauge",
        "Whether the loader reaches Postgres, as it tells.",
        ngx_http_sluice_postgres(zone) == NGX_HTTP_SLUICE_POSTGRES_UP);
}


static void
ngx_http_sluice_metrics_queries(sluice::MetricsText &text, const ngx_http_sluice_counters_t &sum)
{
    static const char  *endpoints[NGX_HTTP_SLUICE_ENDPOINTS] = { "logs", "stats", "hits" };

    static const struct {
        const char  *name;
        ngx_uint_t   from_cache;
    } statuses[NGX_HTTP_SLUICE_CACHE_STATUSES] = {
        { "miss", 0 },
        { "bypass", 0 },
        { "expired", 0 },
        { "stale", 1 },
        { "updating", 1 },
        { "revalidated", 1 },
        { "hit", 1 },
        { "scarce", 0 }
    };

    static const struct {
        const char  *name;
        const char  *help;
    } families[] = {
        { "sluice_edge_cache_misses_total", "Queries that went to the server, by why they did." },
        { "sluice_edge_cache_hits_total", "Queries answered from the cache, by what was there." }
    };

    for (ngx_uint_t from_cache = 0; from_cache < 2; from_cache++) {
        text.family(families[from_cache].name, "counter", families[from_cache].help);

        for (ngx_uint_t i = 0; i < NGX_HTTP_SLUICE_ENDPOINTS; i++) {
            for (ngx_uint_t k = 0; k < NGX_HTTP_SLUICE_CACHE_STATUSES; k++) {
                if (statuses[k].from_cache == from_cache) {
                    text.sample("endpoint", endpoints[i], "status", statuses[k].name,
                                sum.queries[i][k]);
                }
            }
        }
    }
}


static void
ngx_http_sluice_metrics_limits(sluice::MetricsText &text)
{
    ngx_shm_zone_t                      **zones;
    const ngx_array_t                    &limits = ngx_http_sluice_worker.conf->limit_zones;
    const ngx_http_sluice_limit_zone_t   *zone;

    static const struct {
        const char                                        *name;
        const char                                        *help;
        ngx_atomic_t ngx_http_sluice_limit_counts_t::*     count;
    } families[] = {
        { "sluice_edge_limit_delayed_records_total", "Records that a limit made wait.",
          &ngx_http_sluice_limit_counts_t::delayed },
        { "sluice_edge_limit_dry_run_refused_records_total",
          "Records that a limit on trial would have refused.",
          &ngx_http_sluice_limit_counts_t::dry_run_refused },
        { "sluice_edge_limit_dry_run_delayed_records_total",
          "Records that a limit on trial would have made wait.",
          &ngx_http_sluice_limit_counts_t::dry_run_delayed },
        { "sluice_edge_limit_given_back_records_total",
          "Records that a limit got back, for they were not stored.",
          &ngx_http_sluice_limit_counts_t::given_back },
        { "sluice_edge_limit_evicted_keys_total",
          "Keys that made way for others in a full zone, though they had sent lately.",
          &ngx_http_sluice_limit_counts_t::evicted }
    };

    zones = static_cast<ngx_shm_zone_t **>(limits.elts);

    text.family("sluice_edge_limit_refused_records_total", "counter",
                "Records that a limit refused, by the code of the answer.");

    for (ngx_uint_t i = 0; i < limits.nelts; i++) {
        zone = static_cast<ngx_http_sluice_limit_zone_t *>(zones[i]->data);

        for (ngx_uint_t reason = 0; reason < NGX_HTTP_SLUICE_LIMIT_REASONS; reason++) {
            text.sample("limit", ngx_http_sluice_view(zone->name), "code",
                ngx_http_sluice_code_name(1 + ngx_http_sluice_limit_reasons[reason]),
                zone->counts->refused[reason]);
        }
    }

    for (const auto &family : families) {
        text.family(family.name, "counter", family.help);

        for (ngx_uint_t i = 0; i < limits.nelts; i++) {
            zone = static_cast<ngx_http_sluice_limit_zone_t *>(zones[i]->data);
            text.sample("limit", ngx_http_sluice_view(zone->name), zone->counts->*family.count);
        }
    }
}


static void
ngx_http_sluice_metrics_global(sluice::MetricsText &text)
{
    const sluice::Edges                   edges = ngx_http_sluice_global_edges();
    const ngx_http_sluice_global_zone_t  &shared = ngx_http_sluice_worker.zone->global;

    if (!ngx_http_sluice_global_used(ngx_http_sluice_worker.global)) {
        return;
    }

    ngx_http_sluice_metrics_number(text, "sluice_edge_limit_edges", "gauge",
        "Edges that hold global limits together, as this one last heard.", edges.alive);
    ngx_http_sluice_metrics_number(text, "sluice_edge_limit_share", "gauge",
        "Whether global limits are kept as this edge's share, for it does not hear of the others.",
        !edges.heard);
    ngx_http_sluice_metrics_number(text, "sluice_edge_limit_calls_total", "counter",
        "Calls to Redis that tell what global limits admitted.", shared.calls);
    ngx_http_sluice_metrics_number(text, "sluice_edge_limit_call_failures_total", "counter",
        "Those that were not answered as they should be.", shared.failures);
    ngx_http_sluice_metrics_number(text, "sluice_edge_limit_told_keys_total", "counter",
        "Keys told in them.", shared.keys);
}


static void
ngx_http_sluice_metrics_shed(sluice::MetricsText &text, const ngx_http_sluice_counters_t &sum)
{
    const sluice::ShedState             state = ngx_http_sluice_shed_state();
    const ngx_http_sluice_shed_zone_t  &shed = ngx_http_sluice_worker.zone->shed;

    text.family("sluice_edge_shed_records_total", "counter",
                "Records that were shed, those of a batch by its highest level; not those of "
                "bodies that were not read.");
    for (ngx_uint_t i = 0; i < sluice::kLevelCount; i++) {
        text.sample("level", sluice::kLevelNames[i], sum.shed_records[i]);
    }

    text.family("sluice_edge_shed_share", "gauge", "Which share of each level is shed now.");
    for (ngx_uint_t i = 0; i < sluice::kLevelCount; i++) {
        text.sample("level", sluice::kLevelNames[i],
                    state.share(static_cast<sluice::Level>(i)) * 10000ull
                    / sluice::ShedState::kShareWhole, 10000);
    }

    text.family("sluice_edge_pressure", "gauge",
                "How much of what may run out is used; the highest decides what is shed.");
    for (ngx_uint_t i = 0; i < NGX_HTTP_SLUICE_PRESSURES; i++) {
        text.sample("cause", ngx_http_sluice_pressure_names[i], shed.pressure[i],
                    sluice::kPressureWhole);
    }

    ngx_http_sluice_metrics_number(text, "sluice_edge_redis_memory_used_bytes", "gauge",
        "Memory that Redis uses.", shed.memory_used);
    ngx_http_sluice_metrics_number(text, "sluice_edge_redis_memory_max_bytes", "gauge",
        "Memory that Redis may use; 0 is any.", shed.memory_max);
    ngx_http_sluice_metrics_number(text, "sluice_edge_backlog_records", "gauge",
        "Records not stored in Postgres yet, an estimate.", shed.backlog_records);
    ngx_http_sluice_metrics_number(text, "sluice_edge_backlog_bytes", "gauge",
        "Bytes of their rows, an estimate.", shed.backlog_bytes);
    ngx_http_sluice_metrics_number(text, "sluice_edge_drain_records_per_second", "gauge",
        "Records that the loaders store, while they have any; 0: none tells, or Postgres is away.",
        shed.drain_records);
    ngx_http_sluice_metrics_number(text, "sluice_edge_drain_bytes_per_second", "gauge",
        "Bytes of rows that they store.", shed.drain_bytes);
}

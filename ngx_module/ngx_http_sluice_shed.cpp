#include "ngx_http_sluice_shed.hpp"

#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_zone.hpp"


#define NGX_HTTP_SLUICE_SHED_DETAIL  256


const char  *ngx_http_sluice_pressure_names[] = { "memory", "records", "bytes" };


static void ngx_http_sluice_shed_estimate(ngx_http_sluice_shed_seen_t *seen);
static void ngx_http_sluice_shed_tell(sluice::ShedState before, sluice::ShedState after,
    ngx_uint_t cause, uint32_t pressure);
static uint32_t ngx_http_sluice_shed_retry_after(sluice::Level level);


void
ngx_http_sluice_shed_look(const ngx_http_sluice_shed_seen_t *told)
{
    ngx_uint_t                          cause = NGX_HTTP_SLUICE_PRESSURE_MEMORY;
    sluice::ShedState                   before, after;
    ngx_http_sluice_shed_seen_t         seen = *told;
    ngx_http_sluice_shed_zone_t        *zone = &ngx_http_sluice_worker.zone->shed;
    const ngx_http_sluice_shed_conf_t  *conf = &ngx_http_sluice_worker.conf->shed;
    uint32_t                            pressure[NGX_HTTP_SLUICE_PRESSURES];

    if (!seen.backlog_told) {
        ngx_http_sluice_shed_estimate(&seen);
    }

    if (conf->on && seen.memory_max == 0 && conf->records == 0 && conf->bytes == 0
        && (!zone->seen || zone->memory_max != 0))
    {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "nothing is ever shed: Redis has no maxmemory, and \"sluice_shed\" neither "
                      "records= nor bytes=");
    }

    pressure[NGX_HTTP_SLUICE_PRESSURE_MEMORY] =
        sluice::pressure_of(seen.memory_used, seen.memory_max);
    pressure[NGX_HTTP_SLUICE_PRESSURE_RECORDS] =
        sluice::pressure_of(seen.backlog_records, conf->records);
    pressure[NGX_HTTP_SLUICE_PRESSURE_BYTES] =
        sluice::pressure_of(seen.backlog_bytes, conf->bytes);

    for (ngx_uint_t i = 0; i < NGX_HTTP_SLUICE_PRESSURES; i++) {
        zone->pressure[i] = pressure[i];
        if (pressure[i] > pressure[cause]) {
            cause = i;
        }
    }

    zone->cause = cause;
    zone->memory_used = seen.memory_used;
    zone->memory_max = seen.memory_max;
    zone->backlog_records = seen.backlog_records;
    zone->backlog_bytes = seen.backlog_bytes;
    zone->drain_records = seen.drain_records;
    zone->drain_bytes = seen.drain_bytes;
    zone->taken_before = seen.taken_bytes;
    zone->seen = 1;

    before = sluice::ShedState(zone->state);
    if (conf->on) {
        after = before.next(conf->marks, pressure[cause]);
    }

    /* who connects looks, too, whoever else watches: one of them is enough to tell */
    if (before.word() != after.word()
        && ngx_atomic_cmp_set(&zone->state, before.word(), after.word()))
    {
        ngx_http_sluice_shed_tell(before, after, cause, pressure[cause]);
    }
}


/*
 * No loader tells: nothing is drained, and all of the stream may wait but for what the last one kept,
 * in entries of the size that the edge's own have.
 */

static void
ngx_http_sluice_shed_estimate(ngx_http_sluice_shed_seen_t *seen)
{
    uint64_t  frames = 0, records = 0, bytes = 0, entries;

    for (const ngx_http_sluice_counters_t &slot : ngx_http_sluice_worker.zone->counters) {
        frames += slot.frames[NGX_HTTP_SLUICE_FRAME_STORED];
        records += slot.frame_records_sum;
        bytes += slot.row_bytes;
    }

    seen->drain_records = 0;
    seen->drain_bytes = 0;
    entries = seen->stream_entries - ngx_min(seen->kept_entries, seen->stream_entries);
    seen->backlog_records = entries;
    seen->backlog_bytes = 0;

    if (frames) {
        seen->backlog_records = static_cast<double>(records) / frames * entries;
        seen->backlog_bytes = static_cast<double>(bytes) / frames * entries;
    }
}


static void
ngx_http_sluice_shed_tell(sluice::ShedState before, sluice::ShedState after, ngx_uint_t cause,
    uint32_t pressure)
{
    ngx_str_t  level;

    for (ngx_uint_t i = 0; i < sluice::kLevelCount; i++) {

        if ((i < before.active()) == (i < after.active())) {
            continue;
        }

        level = ngx_http_sluice_str(sluice::kLevelNames[i]);
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "%V %s: %s at %uD%%", &level,
                      i < after.active() ? "begins to be shed" : "is not shed any more",
                      ngx_http_sluice_pressure_names[cause],
                      pressure / (sluice::kPressureWhole / 100));
    }
}


/*
 * Before the next look more can come than there is room for above the last watermark: what was
 * taken since the last one counts as used. What was on its way then is in neither.
 */

sluice::ShedState
ngx_http_sluice_shed_state(void)
{
    uint64_t                            used, recent;
    const ngx_http_sluice_shed_zone_t  *zone = &ngx_http_sluice_worker.zone->shed;
    const ngx_http_sluice_shed_conf_t  *conf = &ngx_http_sluice_worker.conf->shed;
    const uint32_t                      last = conf->marks.level[sluice::kLevelCount - 1];

    if (!conf->on) {
        /* after a reload the state may still be what an old worker made of it */
        return sluice::ShedState();
    }

    /* large blocks take up to a quarter more than they hold */
    recent = zone->taken_bytes - zone->taken_before;
    used = zone->memory_used + recent + recent / 4;

    if (sluice::pressure_of(used, zone->memory_max) >= last) {
        return sluice::ShedState().next(conf->marks, sluice::kPressureWhole);
    }

    return sluice::ShedState(zone->state);
}


void
ngx_http_sluice_shed_taken(size_t bytes)
{
    ngx_atomic_fetch_add(&ngx_http_sluice_worker.zone->shed.taken_bytes, bytes);
}


uint64_t
ngx_http_sluice_shed_taken_bytes(void)
{
    return ngx_http_sluice_worker.zone->shed.taken_bytes;
}


ngx_uint_t
ngx_http_sluice_shed_records(ngx_http_sluice_ctx_t *ctx, sluice::Level level, ngx_uint_t records)
{
    if (!ngx_http_sluice_shed_state().sheds(level, ngx_random())) {
        return 0;
    }

    ctx->shed_level = level;
    ctx->retry_after = ngx_http_sluice_shed_retry_after(level);
    ngx_http_sluice_worker.counters->shed_records[static_cast<unsigned>(level)] += records;

    return 1;
}


ngx_uint_t
ngx_http_sluice_shed_all(ngx_http_sluice_ctx_t *ctx)
{
    if (!ngx_http_sluice_shed_state().sheds_all()) {
        return 0;
    }

    ctx->shed_level = sluice::Level::kCritical;
    ctx->retry_after = ngx_http_sluice_shed_retry_after(sluice::Level::kCritical);

    return 1;
}


static uint32_t
ngx_http_sluice_shed_retry_after(sluice::Level level)
{
    uint64_t                            capacity, drain;
    const ngx_http_sluice_shed_zone_t  *zone = &ngx_http_sluice_worker.zone->shed;
    const ngx_http_sluice_shed_conf_t  *conf = &ngx_http_sluice_worker.conf->shed;
    const ngx_uint_t                    cause = zone->cause;

    switch (cause) {

    case NGX_HTTP_SLUICE_PRESSURE_RECORDS:
        capacity = conf->records;
        drain = zone->drain_records;
        break;

    case NGX_HTTP_SLUICE_PRESSURE_BYTES:
        capacity = conf->bytes;
        drain = zone->drain_bytes;
        break;

    default:
        capacity = zone->memory_max;
        drain = zone->drain_bytes;
    }

    return sluice::shed_retry_after(conf->marks, level, zone->pressure[cause], capacity, drain,
                                    ngx_random());
}


std::string_view
ngx_http_sluice_shed_detail(const ngx_http_sluice_ctx_t *ctx)
{
    u_char                             *p, *last;
    ngx_str_t                           level;
    const sluice::ShedState             state = ngx_http_sluice_shed_state();
    const ngx_http_sluice_shed_zone_t  *zone = &ngx_http_sluice_worker.zone->shed;
    const ngx_uint_t                    cause = zone->cause;

    static const char  *causes[] = {
        "the log store's memory", "the number of records not stored yet",
        "the size of records not stored yet"
    };

    p = static_cast<u_char *>(ngx_pnalloc(ctx->request->pool, NGX_HTTP_SLUICE_SHED_DETAIL));
    if (p == NULL) {
        return "not all is taken now; nothing was stored, send again later";
    }

    last = p;

    if (state.sheds_all()) {
        last = ngx_sprintf(last, "nothing is taken now");

    } else {
        level = ngx_http_sluice_str(sluice::kLevelNames[static_cast<unsigned>(ctx->shed_level)]);
        last = ngx_sprintf(last, "not all of %V is taken now, but %s and above",
                           &level, ngx_http_sluice_shed_min_level(state));
    }

    last = ngx_sprintf(last, ": %s is at %uA%%; nothing was stored, send again later",
                       causes[cause], zone->pressure[cause] / (sluice::kPressureWhole / 100));

    return std::string_view(reinterpret_cast<char *>(p), last - p);
}


const char *
ngx_http_sluice_shed_min_level(sluice::ShedState state)
{
    return state.sheds_all() ? "none" : sluice::kLevelNames[state.active()].data();
}

#include "ngx_http_sluice_limit.hpp"

#include <algorithm>
#include <sys/random.h>


#include "ngx_http_sluice_log.hpp"


/* What a limit is asked for: units of one key. */
typedef struct {
    uint64_t  key;
    uint64_t  units;
} ngx_http_sluice_charge_t;

/* A request's part at one limit of its location. */
struct ngx_http_sluice_limit_part_s {
    uint64_t                   key;      /* 0: not looked up yet; unless it goes by device */
    ngx_uint_t                 no_key;   /* the limit does not apply */
    ngx_http_sluice_charge_t  *charges;
    ngx_uint_t                 n;
    ngx_http_sluice_charge_t   one;      /* room for the usual case */
};

/* What stands before the table in a zone. */
typedef struct {
    ngx_http_sluice_limit_counts_t  counts;
    size_t                          table_bytes;
} ngx_http_sluice_limit_head_t;

#define NGX_HTTP_SLUICE_LIMIT_HEAD  256

static_assert(sizeof(ngx_http_sluice_limit_head_t) <= NGX_HTTP_SLUICE_LIMIT_HEAD, "it has room");


static ngx_int_t ngx_http_sluice_limit_attach(ngx_http_sluice_limit_zone_t *zone, u_char *memory);
static ngx_http_sluice_limit_part_t *ngx_http_sluice_limit_parts(ngx_http_sluice_ctx_t *ctx,
    std::string_view rows, ngx_uint_t records);
static ngx_int_t ngx_http_sluice_limit_request_charge(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_limit_zone_t *zone, ngx_http_sluice_limit_part_t *part, uint64_t units);
static ngx_int_t ngx_http_sluice_limit_device_charges(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_limit_zone_t *zone, ngx_http_sluice_limit_part_t *part,
    std::string_view rows, ngx_uint_t records);
static sluice::LimitAnswer ngx_http_sluice_limit_apply(const ngx_http_sluice_limit_t *limit,
    const ngx_http_sluice_limit_part_t *part, ngx_uint_t charge);
static void ngx_http_sluice_limit_undo(const ngx_http_sluice_limit_t *limit,
    const ngx_http_sluice_limit_part_t *part, ngx_uint_t n, uint64_t charged_ns);
static void ngx_http_sluice_limit_hold(ngx_http_sluice_ctx_t *ctx,
    const ngx_http_sluice_limit_t *limit, uint64_t wait_ns, ngx_uint_t records);
static ngx_http_sluice_trouble_e ngx_http_sluice_limit_refuse(ngx_http_sluice_ctx_t *ctx,
    const ngx_http_sluice_limit_t *limit, const sluice::LimitAnswer &answer,
    ngx_uint_t records);


char  ngx_http_sluice_limit_tag;


const ngx_str_t  ngx_http_sluice_limit_verdict_names[NGX_HTTP_SLUICE_LIMIT_VERDICTS] = {
    ngx_null_string,
    ngx_string("PASSED"),
    ngx_string("DELAYED_DRY_RUN"),
    ngx_string("REJECTED_DRY_RUN"),
    ngx_string("DELAYED"),
    ngx_string("REJECTED")
};


/*
 * What was owed goes on being owed after a reload. Under another key the entries would be those of
 * other people.
 */

ngx_int_t
ngx_http_sluice_limit_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    u_char                        *memory;
    uint8_t                        seed[sluice::kSipKeyBytes];
    ngx_slab_pool_t               *shpool;
    ngx_http_sluice_limit_head_t  *head;
    ngx_http_sluice_limit_zone_t  *zone, *old;

    zone = static_cast<ngx_http_sluice_limit_zone_t *>(shm_zone->data);
    old = static_cast<ngx_http_sluice_limit_zone_t *>(data);
    shpool = reinterpret_cast<ngx_slab_pool_t *>(shm_zone->shm.addr);

    if (old && (zone->bytes != old->bytes || zone->key_text.len != old->key_text.len
                || ngx_memcmp(zone->key_text.data, old->key_text.data, old->key_text.len) != 0))
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "sluice_limit_zone \"%V\" counts %s of \"%V\" while previously it counted "
                      "%s of \"%V\": give the new one another name",
                      &zone->name, zone->bytes ? "bytes" : "records", &zone->key_text,
                      old->bytes ? "bytes" : "records", &old->key_text);
        return NGX_ERROR;
    }

    if (old || shm_zone->shm.exists) {
        return ngx_http_sluice_limit_attach(zone, static_cast<u_char *>(shpool->data));
    }

    memory = static_cast<u_char *>(ngx_slab_alloc(shpool, shpool->pfree * ngx_pagesize));

    if (memory == NULL
        || getrandom(seed, sizeof(seed), 0) != static_cast<ssize_t>(sizeof(seed)))
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, ngx_errno,
                      "sluice_limit_zone \"%V\" cannot be made", &zone->name);
        return NGX_ERROR;
    }

    head = reinterpret_cast<ngx_http_sluice_limit_head_t *>(memory);
    ngx_memzero(head, sizeof(ngx_http_sluice_limit_head_t));
    head->table_bytes = shm_zone->shm.addr + shm_zone->shm.size - memory
                        - NGX_HTTP_SLUICE_LIMIT_HEAD;
    head->table_bytes -= head->table_bytes % ngx_pagesize;
    shpool->data = memory;

    if (!sluice::LimitTable::create(memory + NGX_HTTP_SLUICE_LIMIT_HEAD, head->table_bytes, seed))
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "sluice_limit_zone \"%V\" is too small", &zone->name);
        return NGX_ERROR;
    }

    return ngx_http_sluice_limit_attach(zone, memory);
}


static ngx_int_t
ngx_http_sluice_limit_attach(ngx_http_sluice_limit_zone_t *zone, u_char *memory)
{
    ngx_http_sluice_limit_head_t  *head;

    head = reinterpret_cast<ngx_http_sluice_limit_head_t *>(memory);

    zone->counts = &head->counts;
    zone->table = sluice::LimitTable::attach(memory + NGX_HTTP_SLUICE_LIMIT_HEAD,
                                             head->table_bytes);

    return zone->table ? NGX_OK : NGX_ERROR;
}


static uint64_t
ngx_http_sluice_limit_now(void)
{
    return static_cast<uint64_t>(ngx_current_msec) * 1000000;
}


/* All are asked first, so that what one refuses was never charged to another. */

ngx_http_sluice_trouble_e
ngx_http_sluice_limit_charge(ngx_http_sluice_ctx_t *ctx, std::string_view rows,
    ngx_uint_t records)
{
    sluice::LimitAnswer            answer;
    ngx_http_sluice_limit_t       *limits;
    ngx_http_sluice_limit_part_t  *parts;

    if (ctx->conf->limits == NULL) {
        return NGX_HTTP_SLUICE_TROUBLES;
    }

    parts = ngx_http_sluice_limit_parts(ctx, rows, records);
    if (parts == NULL) {
        return NGX_HTTP_SLUICE_NO_MEMORY;
    }

    limits = static_cast<ngx_http_sluice_limit_t *>(ctx->conf->limits->elts);

    for (ngx_uint_t i = 0; i < ctx->conf->limits->nelts; i++) {
        if (limits[i].dry_run) {
            continue;
        }
        answer = ngx_http_sluice_limit_apply(&limits[i], &parts[i], 0);
        if (!answer.judgement.admitted()) {
            return ngx_http_sluice_limit_refuse(ctx, &limits[i], answer, records);
        }
    }

    for (ngx_uint_t i = 0; i < ctx->conf->limits->nelts; i++) {
        answer = ngx_http_sluice_limit_apply(&limits[i], &parts[i], 1);

        if (answer.judgement.admitted()) {
            ngx_http_sluice_limit_hold(ctx, &limits[i], answer.judgement.wait_ns, records);
            continue;
        }

        if (limits[i].dry_run) {
            (void) ngx_http_sluice_limit_refuse(ctx, &limits[i], answer, records);
            continue;
        }

        /* another worker was quicker */
        for (ngx_uint_t n = 0; n < i; n++) {
            if (!limits[n].dry_run) {
                ngx_http_sluice_limit_undo(&limits[n], &parts[n], parts[n].n,
                                           ngx_http_sluice_limit_now());
            }
        }
        return ngx_http_sluice_limit_refuse(ctx, &limits[i], answer, records);
    }

    ctx->charged = 1;
    ctx->charged_ns = ngx_http_sluice_limit_now();

    return NGX_HTTP_SLUICE_TROUBLES;
}


void
ngx_http_sluice_limit_give_back(ngx_http_sluice_ctx_t *ctx, std::string_view rows,
    ngx_uint_t records)
{
    ngx_http_sluice_limit_t       *limits;
    ngx_http_sluice_limit_part_t  *parts;

    if (!ctx->charged) {
        return;
    }

    ctx->charged = 0;

    parts = ngx_http_sluice_limit_parts(ctx, rows, records);
    limits = static_cast<ngx_http_sluice_limit_t *>(ctx->conf->limits->elts);

    for (ngx_uint_t i = 0; parts && i < ctx->conf->limits->nelts; i++) {
        if (limits[i].dry_run) {
            continue;
        }
        ngx_http_sluice_limit_undo(&limits[i], &parts[i], parts[i].n, ctx->charged_ns);
        ngx_atomic_fetch_add(&ngx_http_sluice_limit_zone(&limits[i])->counts->given_back,
                             records);
    }
}


/* What these rows are charged at each limit. */

static ngx_http_sluice_limit_part_t *
ngx_http_sluice_limit_parts(ngx_http_sluice_ctx_t *ctx, std::string_view rows,
    ngx_uint_t records)
{
    ngx_int_t                      rc;
    ngx_http_sluice_limit_t       *limits;
    ngx_http_sluice_limit_zone_t  *zone;
    ngx_http_sluice_limit_part_t  *part;

    if (ctx->limit_parts == NULL) {
        ctx->limit_parts = static_cast<ngx_http_sluice_limit_part_t *>(
            ngx_pcalloc(ctx->request->pool,
                        ctx->conf->limits->nelts * sizeof(ngx_http_sluice_limit_part_t)));
        if (ctx->limit_parts == NULL) {
            return NULL;
        }
    }

    limits = static_cast<ngx_http_sluice_limit_t *>(ctx->conf->limits->elts);

    for (ngx_uint_t i = 0; i < ctx->conf->limits->nelts; i++) {
        zone = ngx_http_sluice_limit_zone(&limits[i]);
        part = &ctx->limit_parts[i];

        rc = zone->by_device
             ? ngx_http_sluice_limit_device_charges(ctx, zone, part, rows, records)
             : ngx_http_sluice_limit_request_charge(ctx, zone, part,
                                                    zone->bytes ? rows.size() : records);
        if (rc != NGX_OK) {
            return NULL;
        }
    }

    return ctx->limit_parts;
}


static ngx_int_t
ngx_http_sluice_limit_request_charge(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_limit_zone_t *zone, ngx_http_sluice_limit_part_t *part, uint64_t units)
{
    ngx_str_t  value;

    if (part->key == 0) {
        if (ngx_http_complex_value(ctx->request, &zone->key, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        part->key = zone->table.key(ngx_http_sluice_view(value));
        part->no_key = value.len == 0;
    }

    part->one.key = part->key;
    part->one.units = units;
    part->charges = &part->one;
    part->n = !part->no_key;

    return NGX_OK;
}


/*
 * The rows say whose they are: device_id is their first column. Each device is charged once, with
 * all of its records, or a batch that is too large for it would not be seen to be.
 */

static ngx_int_t
ngx_http_sluice_limit_device_charges(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_limit_zone_t *zone, ngx_http_sluice_limit_part_t *part,
    std::string_view rows, ngx_uint_t records)
{
    size_t                     length;
    uint64_t                   key;
    std::string_view           device, before;
    ngx_http_sluice_charge_t  *last, *end;

    part->charges = &part->one;
    if (records > 1) {
        part->charges = static_cast<ngx_http_sluice_charge_t *>(
            ngx_palloc(ctx->request->pool, records * sizeof(ngx_http_sluice_charge_t)));
        if (part->charges == NULL) {
            return NGX_ERROR;
        }
    }

    end = part->charges;

    for ( /* void */ ; !rows.empty(); rows.remove_prefix(length)) {
        length = rows.find('\n') + 1;
        device = rows.substr(0, rows.find('\t'));

        if (device != before) {
            key = zone->table.key(device);
            *end++ = { key, 0 };
            before = device;
        }

        end[-1].units += zone->bytes ? length : 1;
    }

    std::sort(part->charges, end, [](const auto &a, const auto &b) { return a.key < b.key; });

    last = part->charges;
    for (ngx_http_sluice_charge_t *charge = last + 1; charge < end; charge++) {
        if (charge->key == last->key) {
            last->units += charge->units;
        } else {
            *++last = *charge;
        }
    }

    part->n = last + 1 - part->charges;

    return NGX_OK;
}


/* Asks a limit for all that it would be charged, or charges it: every key, or none. */

static sluice::LimitAnswer
ngx_http_sluice_limit_apply(const ngx_http_sluice_limit_t *limit,
    const ngx_http_sluice_limit_part_t *part, ngx_uint_t charge)
{
    const uint64_t                 now = ngx_http_sluice_limit_now();
    sluice::LimitAnswer            one, all = { { sluice::Verdict::kPass } };
    ngx_http_sluice_limit_zone_t  *zone = ngx_http_sluice_limit_zone(limit);

    for (ngx_uint_t i = 0; i < part->n; i++) {
        one = charge ? zone->table.charge(part->charges[i].key, limit->gcra, now,
                                          part->charges[i].units, zone->when_full)
                     : zone->table.check(part->charges[i].key, limit->gcra, now,
                                         part->charges[i].units);

        if (one.evicted) {
            ngx_atomic_fetch_add(&zone->counts->evicted, 1);
        }

        if (one.full && zone->when_full == sluice::WhenFull::kEvict) {
            /* others took the slot again and again: open means open */
            continue;
        }

        if (!one.judgement.admitted()) {
            if (charge) {
                ngx_http_sluice_limit_undo(limit, part, i, now);
            }
            return one;
        }

        if (one.judgement.wait_ns > all.judgement.wait_ns) {
            all = one;
        }
    }

    return all;
}


/*
 * Only what is still owed of a charge can be given back. What was owed when it was made is not
 * remembered; that it was nothing is the guess that gives back too little rather than too much.
 */

static void
ngx_http_sluice_limit_undo(const ngx_http_sluice_limit_t *limit,
    const ngx_http_sluice_limit_part_t *part, ngx_uint_t n, uint64_t charged_ns)
{
    const uint64_t                 now = ngx_http_sluice_limit_now();
    ngx_http_sluice_limit_zone_t  *zone = ngx_http_sluice_limit_zone(limit);

    for (ngx_uint_t i = 0; i < n; i++) {
        const ngx_http_sluice_charge_t  &charge = part->charges[i];

        zone->table.give_back(charge.key, limit->gcra,
                              charged_ns + limit->gcra.cost_ns(charge.units), now, charge.units);
    }
}


static void
ngx_http_sluice_limit_note(ngx_http_sluice_ctx_t *ctx, const ngx_http_sluice_limit_t *limit,
    ngx_uint_t verdict)
{
    if (verdict > ctx->limit_verdict) {
        ctx->limit_verdict = verdict;
        ctx->limited_by = limit;
    }
}


static void
ngx_http_sluice_limit_hold(ngx_http_sluice_ctx_t *ctx, const ngx_http_sluice_limit_t *limit,
    uint64_t wait_ns, ngx_uint_t records)
{
    ngx_msec_t                       wait = (wait_ns + 999999) / 1000000;
    ngx_http_sluice_limit_counts_t  *counts = ngx_http_sluice_limit_zone(limit)->counts;

    if (wait == 0) {
        ngx_http_sluice_limit_note(ctx, limit, NGX_HTTP_SLUICE_LIMIT_PASSED);

    } else if (limit->dry_run) {
        ngx_http_sluice_limit_note(ctx, limit, NGX_HTTP_SLUICE_LIMIT_DELAYED_DRY_RUN);
        ngx_atomic_fetch_add(&counts->dry_run_delayed, records);

    } else {
        ngx_http_sluice_limit_note(ctx, limit, NGX_HTTP_SLUICE_LIMIT_DELAYED);
        ngx_atomic_fetch_add(&counts->delayed, records);
        ctx->hold_ms = ngx_max(ctx->hold_ms, wait);
    }
}


static ngx_http_sluice_trouble_e
ngx_http_sluice_limit_refuse(ngx_http_sluice_ctx_t *ctx, const ngx_http_sluice_limit_t *limit,
    const sluice::LimitAnswer &answer, ngx_uint_t records)
{
    ngx_http_sluice_limit_counts_t  *counts = ngx_http_sluice_limit_zone(limit)->counts;

    if (limit->dry_run) {
        ngx_http_sluice_limit_note(ctx, limit, NGX_HTTP_SLUICE_LIMIT_REFUSED_DRY_RUN);
        ngx_atomic_fetch_add(&counts->dry_run_refused, records);
        return NGX_HTTP_SLUICE_TROUBLES;
    }

    ngx_http_sluice_limit_note(ctx, limit, NGX_HTTP_SLUICE_LIMIT_REFUSED);
    ngx_atomic_fetch_add(&counts->refused, records);

    ctx->limit_remaining = limit->gcra.remaining(answer.tat, ngx_http_sluice_limit_now());

    if (answer.judgement.verdict == sluice::Verdict::kNever) {
        return NGX_HTTP_SLUICE_LARGER_THAN_LIMIT;
    }

    /* exact, so it is not spread like other advice: who comes back earlier is refused again */
    ctx->retry_after = (answer.judgement.wait_ns + 999999999) / 1000000000;

    if (answer.full) {
        ngx_atomic_fetch_add(&counts->full, records);
        return NGX_HTTP_SLUICE_LIMIT_FULL;
    }

    return NGX_HTTP_SLUICE_RATE_LIMITED;
}


std::string_view
ngx_http_sluice_limit_name(const ngx_http_sluice_limit_t *limit)
{
    return limit ? ngx_http_sluice_view(ngx_http_sluice_limit_zone(limit)->name)
                 : std::string_view();
}


ngx_int_t
ngx_http_sluice_limit_headers(const ngx_http_sluice_ctx_t *ctx, ngx_str_t *policy,
    ngx_str_t *state)
{
    u_char                              *p;
    size_t                               size = 0;
    const ngx_http_sluice_limit_t       *limit;
    const ngx_http_sluice_limit_zone_t  *zone;

    limit = static_cast<ngx_http_sluice_limit_t *>(ctx->conf->limits->elts);

    for (ngx_uint_t i = 0; i < ctx->conf->limits->nelts; i++) {
        size += ngx_http_sluice_limit_zone(&limit[i])->name.len + 2 * NGX_INT64_LEN
                + sizeof(", \"\";q=;w=;qu=\"content-bytes\"");
    }

    p = static_cast<u_char *>(ngx_pnalloc(ctx->request->pool, 2 * size));
    if (p == NULL) {
        return NGX_ERROR;
    }

    policy->data = p;

    for (ngx_uint_t i = 0; i < ctx->conf->limits->nelts; i++) {
        zone = ngx_http_sluice_limit_zone(&limit[i]);

        if (!limit[i].dry_run) {
            p = ngx_sprintf(p, "%s\"%V\";q=%uL;w=%uL;qu=\"%s\"",
                            p == policy->data ? "" : ", ", &zone->name, limit[i].burst,
                            (limit[i].gcra.burst_ns() + 999999999) / 1000000000,
                            zone->bytes ? "content-bytes" : "records");
        }
    }

    policy->len = p - policy->data;

    zone = ngx_http_sluice_limit_zone(ctx->limited_by);

    state->data = p;
    state->len = ngx_sprintf(p, "\"%V\";r=%uL;t=%ui", &zone->name, ctx->limit_remaining,
                             ctx->retry_after) - p;

    return NGX_OK;
}

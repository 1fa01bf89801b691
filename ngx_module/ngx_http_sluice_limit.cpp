#include "ngx_http_sluice_limit.hpp"

#include <algorithm>

#include "ngx_http_sluice_global.hpp"


/* What a limit is asked for: units of one key. */
typedef struct {
    uint64_t                   key;
    std::string_view           text;     /* of which key is a hash */
    uint64_t                   units;
    uint64_t                   tat;      /* that the charge left; 0: not remembered */
} ngx_http_sluice_charge_t;

/* A request's part at one limit of its location. */
struct ngx_http_sluice_limit_part_s {
    uint64_t                   key;      /* 0: not looked up yet; unless it goes by device */
    ngx_str_t                  text;
    ngx_uint_t                 no_key;   /* the limit does not apply */
    ngx_uint_t                 charged;
    ngx_http_sluice_charge_t  *charges;
    ngx_uint_t                 n;
    ngx_http_sluice_charge_t   one;      /* room for the usual case */
};

/* A refusal, and of what. */
typedef struct {
    const ngx_http_sluice_limit_t   *limit;
    const ngx_http_sluice_charge_t  *charge;
    sluice::LimitAnswer              answer;
} ngx_http_sluice_limit_refusal_t;

static ngx_http_sluice_limit_part_t *ngx_http_sluice_limit_parts(ngx_http_sluice_ctx_t *ctx,
    std::string_view rows, ngx_uint_t records);
static ngx_int_t ngx_http_sluice_limit_request_charge(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_limit_zone_t *zone, ngx_http_sluice_limit_part_t *part, uint64_t units);
static ngx_int_t ngx_http_sluice_limit_device_charges(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_limit_zone_t *zone, ngx_http_sluice_limit_part_t *part,
    std::string_view rows, ngx_uint_t records);
static void ngx_http_sluice_limit_ask(const ngx_http_sluice_limit_t *limit,
    const ngx_http_sluice_limit_part_t *part, ngx_http_sluice_limit_refusal_t *worst);
static sluice::LimitAnswer ngx_http_sluice_limit_charge_all(ngx_http_sluice_limit_zone_t *zone,
    const sluice::GcraLimit &gcra, const ngx_http_sluice_charge_t *charge, uint64_t now);
static ngx_int_t ngx_http_sluice_limit_take(const ngx_http_sluice_limit_t *limit,
    ngx_http_sluice_limit_part_t *part, uint64_t *wait_ns,
    ngx_http_sluice_limit_refusal_t *refusal);
static void ngx_http_sluice_limit_undo(const ngx_http_sluice_limit_t *limit,
    const ngx_http_sluice_limit_part_t *part, ngx_uint_t n, uint64_t charged_ns);
static void ngx_http_sluice_limit_pass(ngx_http_sluice_ctx_t *ctx,
    const ngx_http_sluice_limit_t *limit, uint64_t wait_ns, ngx_uint_t records);
static ngx_http_sluice_trouble_e ngx_http_sluice_limit_refuse(ngx_http_sluice_ctx_t *ctx,
    const ngx_http_sluice_limit_refusal_t *refusal, std::string_view rows, ngx_uint_t records);
static std::string_view ngx_http_sluice_limit_device(const ngx_http_sluice_limit_zone_t *zone,
    uint64_t key, std::string_view rows);


/*
 * All are asked first, so that what one refuses was never charged to another. Of several that refuse
 * the one is told that does so for longest: who comes back then is let in by all.
 */

ngx_http_sluice_trouble_e
ngx_http_sluice_limit_charge(ngx_http_sluice_ctx_t *ctx, std::string_view rows,
    ngx_uint_t records)
{
    uint64_t                          wait_ns;
    ngx_http_sluice_limit_t          *limits;
    ngx_http_sluice_limit_part_t     *parts;
    ngx_http_sluice_limit_refusal_t   refusal = {};

    if (ctx->conf->limits == NULL) {
        return NGX_HTTP_SLUICE_TROUBLES;
    }

    parts = ngx_http_sluice_limit_parts(ctx, rows, records);
    if (parts == NULL) {
        return NGX_HTTP_SLUICE_NO_MEMORY;
    }

    limits = static_cast<ngx_http_sluice_limit_t *>(ctx->conf->limits->elts);

    for (ngx_uint_t i = 0; i < ctx->conf->limits->nelts; i++) {
        if (!limits[i].dry_run) {
            ngx_http_sluice_limit_ask(&limits[i], &parts[i], &refusal);
        }
    }

    if (refusal.limit) {
        return ngx_http_sluice_limit_refuse(ctx, &refusal, rows, records);
    }

    for (ngx_uint_t i = 0; i < ctx->conf->limits->nelts; i++) {

        if (ngx_http_sluice_limit_take(&limits[i], &parts[i], &wait_ns, &refusal) == NGX_OK) {
            ngx_http_sluice_limit_pass(ctx, &limits[i], wait_ns, parts[i].n ? records : 0);

        } else if (limits[i].dry_run) {
            (void) ngx_http_sluice_limit_refuse(ctx, &refusal, rows, records);

        } else {
            /* another worker was quicker */
            for (ngx_uint_t n = 0; n < i; n++) {
                if (parts[n].charged) {
                    ngx_http_sluice_limit_undo(&limits[n], &parts[n], parts[n].n,
                                               ngx_http_sluice_limit_now());
                }
            }
            return ngx_http_sluice_limit_refuse(ctx, &refusal, rows, records);
        }
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
    ngx_http_sluice_limit_part_t  *parts = ctx->limit_parts;

    if (!ctx->charged) {
        return;
    }

    ctx->charged = 0;

    if (ctx->one_by_one) {
        /* so were they charged */
        parts = ngx_http_sluice_limit_parts(ctx, rows, records);
    }

    limits = static_cast<ngx_http_sluice_limit_t *>(ctx->conf->limits->elts);

    for (ngx_uint_t i = 0; parts && i < ctx->conf->limits->nelts; i++) {
        if (parts[i].n == 0 || (limits[i].dry_run && (ctx->one_by_one || !parts[i].charged))) {
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
    if (part->key == 0) {
        if (ngx_http_complex_value(ctx->request, &zone->key, &part->text) != NGX_OK) {
            return NGX_ERROR;
        }

        part->key = zone->table.key(ngx_http_sluice_view(part->text));
        part->no_key = part->text.len == 0;
    }

    part->one.key = part->key;
    part->one.text = ngx_http_sluice_view(part->text);
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
            *end++ = { key, device, 0, 0 };
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


/*
 * What nginx calls now is when this turn of the worker began. Whoever was admitted since then, by
 * another worker, seems to be ahead of his time: nobody is refused before the clock was looked at.
 */

template <typename Judge>
static sluice::LimitAnswer
ngx_http_sluice_limit_judge(Judge judge)
{
    sluice::LimitAnswer  answer, first;
    const ngx_msec_t     before = ngx_current_msec;

    first = judge(ngx_http_sluice_limit_now());

    if (first.judgement.admitted()) {
        return first;
    }

    ngx_time_update();

    if (ngx_current_msec == before) {
        return first;
    }

    answer = judge(ngx_http_sluice_limit_now());
    answer.evicted |= first.evicted;

    return answer;
}


/* Asks a limit for all that it would be charged. */

static void
ngx_http_sluice_limit_ask(const ngx_http_sluice_limit_t *limit,
    const ngx_http_sluice_limit_part_t *part, ngx_http_sluice_limit_refusal_t *worst)
{
    sluice::LimitAnswer            answer;
    ngx_http_sluice_limit_zone_t  *zone = ngx_http_sluice_limit_zone(limit);

    for (ngx_uint_t i = 0; i < part->n; i++) {
        const ngx_http_sluice_charge_t  &charge = part->charges[i];

        answer = ngx_http_sluice_limit_judge([&](uint64_t now) {
            return zone->global
                   ? zone->table_of_all.check(charge.key, limit->gcra, now, charge.units,
                                              ngx_http_sluice_global_edges())
                   : zone->table.check(charge.key, limit->gcra, now, charge.units);
        });

        if (answer.judgement.admitted()) {
            continue;
        }

        if (worst->limit == NULL
            || answer.judgement.verdict > worst->answer.judgement.verdict
            || (answer.judgement.verdict == worst->answer.judgement.verdict
                && answer.judgement.wait_ns > worst->answer.judgement.wait_ns))
        {
            *worst = { limit, &part->charges[i], answer };
        }
    }
}


static sluice::LimitAnswer
ngx_http_sluice_limit_charge_all(ngx_http_sluice_limit_zone_t *zone, const sluice::GcraLimit &gcra,
    const ngx_http_sluice_charge_t *charge, uint64_t now)
{
    uint64_t  name = 0;

    if (!zone->table_of_all.has_name(charge->key)) {
        name = ngx_http_sluice_global_name(charge->text);
    }

    return zone->table_of_all.charge(charge->key, name, gcra, now, charge->units,
                                     zone->when_full, ngx_http_sluice_global_edges());
}


/* Charges a limit: every key, or none. */

static ngx_int_t
ngx_http_sluice_limit_take(const ngx_http_sluice_limit_t *limit,
    ngx_http_sluice_limit_part_t *part, uint64_t *wait_ns,
    ngx_http_sluice_limit_refusal_t *refusal)
{
    sluice::LimitAnswer            answer;
    ngx_http_sluice_limit_zone_t  *zone = ngx_http_sluice_limit_zone(limit);

    *wait_ns = 0;
    part->charged = 0;

    for (ngx_uint_t i = 0; i < part->n; i++) {
        ngx_http_sluice_charge_t  *charge = &part->charges[i];

        answer = ngx_http_sluice_limit_judge([&](uint64_t now) {
            return zone->global
                   ? ngx_http_sluice_limit_charge_all(zone, limit->gcra, charge, now)
                   : zone->table.charge(charge->key, limit->gcra, now, charge->units,
                                        zone->when_full);
        });

        if (answer.evicted) {
            ngx_atomic_fetch_add(&zone->counts->evicted, 1);
        }

        if (answer.full && zone->when_full == sluice::WhenFull::kEvict) {
            /* others took the slot again and again: open means open */
            continue;
        }

        if (!answer.judgement.admitted()) {
            ngx_http_sluice_limit_undo(limit, part, i, ngx_http_sluice_limit_now());
            *refusal = { limit, charge, answer };
            return NGX_DECLINED;
        }

        charge->tat = answer.tat;
        *wait_ns = ngx_max(*wait_ns, answer.judgement.wait_ns);
    }

    part->charged = 1;

    return NGX_OK;
}


/*
 * Only what is still owed of a charge can be given back. Where it is not remembered what was owed
 * when it was made, that it was nothing is the guess that gives back too little rather than too much.
 */

static void
ngx_http_sluice_limit_undo(const ngx_http_sluice_limit_t *limit,
    const ngx_http_sluice_limit_part_t *part, ngx_uint_t n, uint64_t charged_ns)
{
    uint64_t                       tat;
    const uint64_t                 now = ngx_http_sluice_limit_now();
    ngx_http_sluice_limit_zone_t  *zone = ngx_http_sluice_limit_zone(limit);

    for (ngx_uint_t i = 0; i < n; i++) {
        const ngx_http_sluice_charge_t  &charge = part->charges[i];

        tat = charge.tat ? charge.tat : charged_ns + limit->gcra.cost_ns(charge.units);

        if (zone->global) {
            zone->table_of_all.give_back(charge.key, limit->gcra, tat, now, charge.units);
        } else {
            zone->table.give_back(charge.key, limit->gcra, tat, now, charge.units);
        }
    }
}


/* Who has passed all of them was limited by none. */

static void
ngx_http_sluice_limit_note(ngx_http_sluice_ctx_t *ctx, const ngx_http_sluice_limit_t *limit,
    ngx_uint_t verdict)
{
    if (verdict > ctx->limit_verdict || verdict == NGX_HTTP_SLUICE_LIMIT_REFUSED) {
        ctx->limit_verdict = verdict;
        ctx->limited_by = verdict == NGX_HTTP_SLUICE_LIMIT_PASSED ? NULL : limit;
    }
}


static void
ngx_http_sluice_limit_pass(ngx_http_sluice_ctx_t *ctx, const ngx_http_sluice_limit_t *limit,
    uint64_t wait_ns, ngx_uint_t records)
{
    ngx_msec_t                       wait = (wait_ns + 999999) / 1000000;
    ngx_http_sluice_limit_counts_t  *counts = ngx_http_sluice_limit_zone(limit)->counts;

    if (records == 0) {
        return;
    }

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
ngx_http_sluice_limit_refuse(ngx_http_sluice_ctx_t *ctx,
    const ngx_http_sluice_limit_refusal_t *refusal, std::string_view rows, ngx_uint_t records)
{
    ngx_uint_t                       reason;
    const ngx_http_sluice_limit_t   *limit = refusal->limit;
    const sluice::LimitAnswer       &answer = refusal->answer;
    ngx_http_sluice_limit_zone_t    *zone = ngx_http_sluice_limit_zone(limit);

    if (limit->dry_run) {
        ngx_http_sluice_limit_note(ctx, limit, NGX_HTTP_SLUICE_LIMIT_REFUSED_DRY_RUN);
        ngx_atomic_fetch_add(&zone->counts->dry_run_refused, records);
        return NGX_HTTP_SLUICE_TROUBLES;
    }

    if (answer.judgement.verdict == sluice::Verdict::kNever) {
        reason = NGX_HTTP_SLUICE_LIMIT_REASON_LARGER;

    } else {
        reason = answer.full ? NGX_HTTP_SLUICE_LIMIT_REASON_FULL
                             : NGX_HTTP_SLUICE_LIMIT_REASON_RATE;
    }

    ngx_http_sluice_limit_note(ctx, limit, NGX_HTTP_SLUICE_LIMIT_REFUSED);
    ngx_atomic_fetch_add(&zone->counts->refused[reason], records);

    ctx->limit_asked = refusal->charge->units;
    ctx->limit_remaining = limit->gcra.remaining(answer.tat, ngx_http_sluice_limit_now());

    /* exact, so it is not spread like other advice: who comes back earlier is refused again */
    ctx->retry_after = (answer.judgement.wait_ns + 999999999) / 1000000000;

    if (zone->by_device) {
        ctx->limit_device = ngx_http_sluice_limit_device(zone, refusal->charge->key, rows);
    }

    return ngx_http_sluice_limit_reasons[reason];
}


/* The device of a key, as it stands in the rows. */

static std::string_view
ngx_http_sluice_limit_device(const ngx_http_sluice_limit_zone_t *zone, uint64_t key,
    std::string_view rows)
{
    std::string_view  device;

    for ( /* void */ ; !rows.empty(); rows.remove_prefix(rows.find('\n') + 1)) {
        device = rows.substr(0, rows.find('\t'));
        if (zone->table.key(device) == key) {
            return device;
        }
    }

    return std::string_view();
}

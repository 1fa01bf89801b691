/*
 * Limits: how many records, or bytes of rows, somebody may send. Who that is, a key says: any
 * variables, or the device_id of each record. What is owed stands in a zone of the limit, which all
 * workers share and a reload keeps.
 */

#ifndef NGX_HTTP_SLUICE_LIMIT_HPP
#define NGX_HTTP_SLUICE_LIMIT_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_answer.hpp"
#include "common/gcra.hpp"
#include "common/global_limit.hpp"
#include "common/hot_keys.hpp"
#include "common/limit_table.hpp"

#define NGX_HTTP_SLUICE_LIMIT_ZONE_MIN  (64 * 1024)
#define NGX_HTTP_SLUICE_LIMIT_NAME_MAX  64
#define NGX_HTTP_SLUICE_RATE_MAX        (1024ll * 1024 * 1024 * 1024)
#define NGX_HTTP_SLUICE_DELAY_MAX       60000

enum ngx_http_sluice_limit_reason_e : ngx_uint_t {
    NGX_HTTP_SLUICE_LIMIT_REASON_RATE = 0,
    NGX_HTTP_SLUICE_LIMIT_REASON_FULL,
    NGX_HTTP_SLUICE_LIMIT_REASON_LARGER,
    NGX_HTTP_SLUICE_LIMIT_REASONS
};

/* In the zone, before its table; adds are atomic, for every worker adds here. */
typedef struct {
    ngx_atomic_t refused[NGX_HTTP_SLUICE_LIMIT_REASONS];  /* records */
    ngx_atomic_t delayed;
    ngx_atomic_t dry_run_refused;
    ngx_atomic_t dry_run_delayed;
    ngx_atomic_t given_back;
    ngx_atomic_t evicted;          /* keys that made way though they owed something */
} ngx_http_sluice_limit_counts_t;

typedef struct {
    ngx_str_t name;
    ngx_str_t key_text;
    ngx_http_complex_value_t key;  /* unless by_device */
    uint64_t rate;                 /* records, or bytes, */
    uint64_t period_ns;            /* in this time */
    sluice::WhenFull when_full;
    ngx_array_t limits;            /* of ngx_http_sluice_limit_t *, that share it */
    sluice::LimitTable table;
    sluice::HotKeys hot;           /* if it is global */
    sluice::GlobalLimit table_of_all;
    ngx_http_sluice_limit_counts_t *counts;

    unsigned by_device:1;
    unsigned bytes:1;
    unsigned global:1;             /* all edges hold it together */
} ngx_http_sluice_limit_zone_t;

struct ngx_http_sluice_limit_s {
    ngx_shm_zone_t *shm_zone;
    uint64_t burst;                /* 0 = what the rate gives in a second */
    ngx_msec_t delay;
    sluice::GcraLimit gcra;
    unsigned dry_run:1;
};

/* What became of a request at its limits, for $sluice_limit_status; the worst counts. */
enum ngx_http_sluice_limit_verdict_e : ngx_uint_t {
    NGX_HTTP_SLUICE_LIMIT_NONE = 0,
    NGX_HTTP_SLUICE_LIMIT_PASSED,
    NGX_HTTP_SLUICE_LIMIT_DELAYED_DRY_RUN,
    NGX_HTTP_SLUICE_LIMIT_REFUSED_DRY_RUN,
    NGX_HTTP_SLUICE_LIMIT_DELAYED,
    NGX_HTTP_SLUICE_LIMIT_REFUSED,
    NGX_HTTP_SLUICE_LIMIT_VERDICTS
};

ngx_int_t ngx_http_sluice_limit_zone_init(ngx_shm_zone_t *shm_zone, void *data);

static inline ngx_http_sluice_limit_zone_t *
ngx_http_sluice_limit_zone(const ngx_http_sluice_limit_t *limit)
{
    return static_cast<ngx_http_sluice_limit_zone_t *>(limit->shm_zone->data);
}

static inline uint64_t
ngx_http_sluice_limit_now(void)
{
    return static_cast<uint64_t>(ngx_current_msec) * 1000000;
}

/*
 * Asks all limits of the location whether these rows may pass, and if so charges them to all.
 * NGX_HTTP_SLUICE_TROUBLES: they may, after ctx->hold_ms if that is not 0. Else no limit is
 * charged, and ctx->limited_by and ctx->retry_after say which limit refused, and for how long.
 */
ngx_http_sluice_trouble_e ngx_http_sluice_limit_charge(ngx_http_sluice_ctx_t *ctx,
    std::string_view rows, ngx_uint_t records);

/* The rows were charged, and are certainly not stored. */
void ngx_http_sluice_limit_give_back(ngx_http_sluice_ctx_t *ctx, std::string_view rows,
    ngx_uint_t records);

/*
 * What the limits of the request's location are, and what is left of the one that refused it: the
 * values of RateLimit-Policy and RateLimit, from the request's pool.
 */
ngx_int_t ngx_http_sluice_limit_headers(const ngx_http_sluice_ctx_t *ctx, ngx_str_t *policy,
    ngx_str_t *state);

static inline ngx_uint_t
ngx_http_sluice_is_limit_trouble(ngx_http_sluice_trouble_e trouble)
{
    return trouble == NGX_HTTP_SLUICE_RATE_LIMITED || trouble == NGX_HTTP_SLUICE_LIMIT_FULL
           || trouble == NGX_HTTP_SLUICE_LARGER_THAN_LIMIT;
}

/* Why the limit refused, what was asked of it, and what would help; from the request's pool. */
ngx_int_t ngx_http_sluice_limit_detail(const ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_trouble_e trouble, ngx_str_t *detail);

/* Its zone's; empty if there is no limit. */
std::string_view ngx_http_sluice_limit_name(const ngx_http_sluice_limit_t *limit);

/* The code of answers with it. */
extern const ngx_http_sluice_trouble_e
    ngx_http_sluice_limit_reasons[NGX_HTTP_SLUICE_LIMIT_REASONS];

/* Tells zones of limits from all others of nginx. */
extern char ngx_http_sluice_limit_tag;

extern const ngx_str_t ngx_http_sluice_limit_verdict_names[];

#endif

#include "ngx_http_sluice_inflate.hpp"

#include <cstdlib>
#include <new>

#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_commit.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_frame.hpp"
#include "ngx_http_sluice_handler.hpp"
#include "ngx_http_sluice_key.hpp"
#include "ngx_http_sluice_turn.hpp"
#include "ngx_http_sluice_waiting.hpp"


/* A step: far below a millisecond, also of what is made to be slow. */
#define NGX_HTTP_SLUICE_INFLATE_SHARE   8192
#define NGX_HTTP_SLUICE_INFLATE_ROOM    (64 * 1024)

/* Logs that are compressed well come to less than this many times their size. */
#define NGX_HTTP_SLUICE_INFLATE_FACTOR  8
#define NGX_HTTP_SLUICE_INFLATE_MIN     (16 * 1024)

#define NGX_HTTP_SLUICE_DETAIL_BYTES    256


struct ngx_http_sluice_inflate_s {
    ngx_queue_t             queue;    /* who comes next is the first */
    ngx_http_sluice_turn_t  turn;
    ngx_event_t             holding;  /* runs while somebody is in the queue */
    ngx_msec_t              timeout;
};


/*
 *    buffer                buffer + inflater.made()   buffer + capacity <= buffer + bytes_max
 *    | inflated so far     | room                     |
 */

struct ngx_http_sluice_inflation_s {
    sluice::Inflater  inflater;
    size_t            bytes_max;
    char             *buffer;
    size_t            capacity;
    size_t            reserved;  /* under sluice_max_inflight */
    unsigned          queued:1;
};


static ngx_int_t ngx_http_sluice_inflate_begin(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_trouble_e *trouble);
static ngx_int_t ngx_http_sluice_inflate_step(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_trouble_e *trouble);
static ngx_int_t ngx_http_sluice_inflate_grow(ngx_http_sluice_inflation_t *inflation,
    size_t capacity, ngx_http_sluice_trouble_e *trouble);
static ngx_uint_t ngx_http_sluice_inflate_reserve(ngx_http_sluice_inflation_t *inflation,
    size_t bytes);
static ngx_int_t ngx_http_sluice_inflate_submit(ngx_http_sluice_ctx_t *ctx);
static ngx_int_t ngx_http_sluice_inflate_refuse(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_trouble_e trouble);
static u_char *ngx_http_sluice_inflate_broken(const ngx_http_sluice_ctx_t *ctx, u_char *detail,
    u_char *last);
static u_char *ngx_http_sluice_inflate_too_large(const ngx_http_sluice_ctx_t *ctx,
    u_char *detail, u_char *last);
static void ngx_http_sluice_inflate_release(ngx_http_sluice_inflation_t *inflation);
static void ngx_http_sluice_inflate_enter(ngx_http_sluice_inflate_t *inflate,
    ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_inflate_leave(ngx_http_sluice_inflate_t *inflate,
    ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_inflate_turn(ngx_event_t *ev);
static void ngx_http_sluice_inflate_hold(ngx_event_t *ev);


ngx_http_sluice_inflate_t *
ngx_http_sluice_inflate_create(ngx_cycle_t *cycle, ngx_http_sluice_main_conf_t *conf)
{
    ngx_http_sluice_inflate_t  *inflate;

    inflate = static_cast<ngx_http_sluice_inflate_t *>(
        ngx_pcalloc(cycle->pool, sizeof(ngx_http_sluice_inflate_t)));
    if (inflate == NULL) {
        return NULL;
    }

    ngx_queue_init(&inflate->queue);
    inflate->timeout = conf->timeout;

    inflate->turn.next.handler = ngx_http_sluice_inflate_turn;
    inflate->turn.next.data = inflate;
    inflate->turn.next.log = cycle->log;

    /* not cancelable: nginx lets a worker leave that has no timer, whatever is posted */
    inflate->holding.handler = ngx_http_sluice_inflate_hold;
    inflate->holding.data = inflate;
    inflate->holding.log = cycle->log;

    return inflate;
}


ngx_int_t
ngx_http_sluice_inflate_body(ngx_http_sluice_inflate_t *inflate, ngx_http_sluice_ctx_t *ctx)
{
    uint64_t                   since_us;
    ngx_int_t                  rc;
    ngx_http_sluice_trouble_e  trouble;

    trouble = ngx_http_sluice_commit_trouble(ngx_http_sluice_worker.commit);
    if (trouble != NGX_HTTP_SLUICE_TROUBLES) {
        return ngx_http_sluice_answer_trouble(ctx->request, trouble);
    }

    /* of inflating; for Redis it begins anew, which must not pay for what others had inflated */
    ctx->deadline = ngx_current_msec + inflate->timeout;

    since_us = ngx_http_sluice_now_us();
    rc = ngx_http_sluice_inflate_begin(ctx, &trouble);

    /* most are done at once */
    while (rc == NGX_AGAIN && ngx_queue_empty(&inflate->queue)
           && !ngx_http_sluice_turn_is_over(&inflate->turn))
    {
        rc = ngx_http_sluice_inflate_step(ctx, &trouble);
        since_us = ngx_http_sluice_turn_charge(&inflate->turn, since_us);
    }

    if (rc == NGX_AGAIN) {
        ngx_http_sluice_inflate_enter(inflate, ctx);
        return NGX_DONE;
    }

    rc = rc == NGX_OK ? ngx_http_sluice_inflate_submit(ctx)
                      : ngx_http_sluice_inflate_refuse(ctx, trouble);

    (void) ngx_http_sluice_turn_charge(&inflate->turn, since_us);

    return rc;
}


/* NGX_AGAIN: it has begun. NGX_ERROR: there is trouble. */

static ngx_int_t
ngx_http_sluice_inflate_begin(ngx_http_sluice_ctx_t *ctx, ngx_http_sluice_trouble_e *trouble)
{
    void                         *memory;
    size_t                        ratio_max, capacity;
    ngx_http_sluice_inflation_t  *inflation;

    *trouble = NGX_HTTP_SLUICE_NO_MEMORY;

    memory = ngx_palloc(ctx->request->pool, sizeof(ngx_http_sluice_inflation_t));
    if (memory == NULL) {
        return NGX_ERROR;
    }

    inflation = new (memory) ngx_http_sluice_inflation_t();
    ctx->inflation = inflation;

    ratio_max = sluice::ratio_bytes_max(ctx->body.size(), ctx->conf->inflate_ratio_max);
    inflation->bytes_max = ngx_min(ctx->conf->inflated_bytes_max, ratio_max);

    capacity = ngx_max(NGX_HTTP_SLUICE_INFLATE_FACTOR * ctx->body.size(),
                       NGX_HTTP_SLUICE_INFLATE_MIN);

    if (!ngx_http_sluice_inflate_reserve(inflation,
                                         ctx->body.size() + sluice::Inflater::kMemoryBytes))
    {
        *trouble = NGX_HTTP_SLUICE_TOO_MANY_INFLIGHT;
        return NGX_ERROR;
    }

    if (ngx_http_sluice_inflate_grow(inflation, capacity, trouble) != NGX_OK) {
        return NGX_ERROR;
    }

    return inflation->inflater.begin(ctx->coding, ctx->body, inflation->bytes_max) ? NGX_AGAIN
                                                                                   : NGX_ERROR;
}


/* NGX_AGAIN: there is more to do. NGX_OK: the body is whole. NGX_ERROR: there is trouble. */

static ngx_int_t
ngx_http_sluice_inflate_step(ngx_http_sluice_ctx_t *ctx, ngx_http_sluice_trouble_e *trouble)
{
    char                         *out;
    size_t                        room, made, taken;
    sluice::InflateStatus         status;
    ngx_http_sluice_counters_t   *counters = ngx_http_sluice_worker.counters;
    ngx_http_sluice_inflation_t  *inflation = ctx->inflation;

    if (ngx_http_sluice_is_past(ctx->deadline)) {
        *trouble = NGX_HTTP_SLUICE_TOO_MANY_INFLIGHT;
        return NGX_ERROR;
    }

    made = inflation->inflater.made();
    taken = inflation->inflater.taken();

    if (made == inflation->capacity && made != inflation->bytes_max
        && ngx_http_sluice_inflate_grow(inflation, 2 * made, trouble) != NGX_OK)
    {
        return NGX_ERROR;
    }

    out = inflation->buffer + made;
    room = inflation->capacity - made;

    status = inflation->inflater.step(NGX_HTTP_SLUICE_INFLATE_SHARE, out,
                                      ngx_min(room, NGX_HTTP_SLUICE_INFLATE_ROOM));

    made = inflation->inflater.made() - made;
    taken = inflation->inflater.taken() - taken;

    counters->inflated_bytes += made;
    counters->compressed_bytes += taken;

    if (ngx_http_sluice_key_add(ctx, std::string_view(out, made)) != NGX_OK) {
        status = sluice::InflateStatus::kNoMemory;
    }

    switch (status) {

    case sluice::InflateStatus::kMore:
        return NGX_AGAIN;

    case sluice::InflateStatus::kWhole:
        return NGX_OK;

    case sluice::InflateStatus::kBroken:
        *trouble = NGX_HTTP_SLUICE_BAD_COMPRESSION;
        return NGX_ERROR;

    case sluice::InflateStatus::kTooLarge:
        *trouble = NGX_HTTP_SLUICE_INFLATED_TOO_LARGE;
        return NGX_ERROR;

    default: /* sluice::InflateStatus::kNoMemory */
        *trouble = NGX_HTTP_SLUICE_NO_MEMORY;
        return NGX_ERROR;
    }
}


/* To capacity, or as much as is allowed. */

static ngx_int_t
ngx_http_sluice_inflate_grow(ngx_http_sluice_inflation_t *inflation, size_t capacity,
    ngx_http_sluice_trouble_e *trouble)
{
    void  *buffer;

    capacity = ngx_min(capacity, inflation->bytes_max);

    if (!ngx_http_sluice_inflate_reserve(inflation, capacity - inflation->capacity)) {
        *trouble = NGX_HTTP_SLUICE_TOO_MANY_INFLIGHT;
        return NGX_ERROR;
    }

    /* large blocks are not copied, but mapped elsewhere */
    buffer = std::realloc(inflation->buffer, capacity);
    if (buffer == NULL) {
        *trouble = NGX_HTTP_SLUICE_NO_MEMORY;
        return NGX_ERROR;
    }

    inflation->buffer = static_cast<char *>(buffer);
    inflation->capacity = capacity;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_sluice_inflate_reserve(ngx_http_sluice_inflation_t *inflation, size_t bytes)
{
    if (!ngx_http_sluice_commit_reserve(ngx_http_sluice_worker.commit, bytes)) {
        return 0;
    }

    inflation->reserved += bytes;

    return 1;
}


static ngx_int_t
ngx_http_sluice_inflate_submit(ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_sluice_inflation_t  *inflation = ctx->inflation;

    ctx->body = std::string_view(inflation->buffer, inflation->inflater.made());
    inflation->inflater.end();

    /* from here it is as if it had come like this, and counts with its size */
    ngx_http_sluice_commit_release(ngx_http_sluice_worker.commit, inflation->reserved);
    inflation->reserved = 0;

    return ngx_http_sluice_submit(ctx);
}


static ngx_int_t
ngx_http_sluice_inflate_refuse(ngx_http_sluice_ctx_t *ctx, ngx_http_sluice_trouble_e trouble)
{
    u_char   detail[NGX_HTTP_SLUICE_DETAIL_BYTES];
    u_char  *last = detail + sizeof(detail), *end = detail;

    if (trouble == NGX_HTTP_SLUICE_BAD_COMPRESSION) {
        end = ngx_http_sluice_inflate_broken(ctx, detail, last);

    } else if (trouble == NGX_HTTP_SLUICE_INFLATED_TOO_LARGE) {
        end = ngx_http_sluice_inflate_too_large(ctx, detail, last);
    }

    if (ctx->inflation) {
        ngx_http_sluice_inflate_release(ctx->inflation);
    }

    if (end == detail) {
        return ngx_http_sluice_answer_trouble(ctx->request, trouble);
    }

    return ngx_http_sluice_answer_trouble_detail(ctx->request, trouble,
        std::string_view(reinterpret_cast<char *>(detail), end - detail));
}


static u_char *
ngx_http_sluice_inflate_broken(const ngx_http_sluice_ctx_t *ctx, u_char *detail, u_char *last)
{
    const sluice::Inflater  &inflater = ctx->inflation->inflater;

    return ngx_slprintf(detail, last, "the %s body broke at byte %uz of %uz: %s",
                        ctx->coding == sluice::Coding::kGzip ? "gzip" : "deflate",
                        inflater.taken(), ctx->body.size(), inflater.reason());
}


static u_char *
ngx_http_sluice_inflate_too_large(const ngx_http_sluice_ctx_t *ctx, u_char *detail, u_char *last)
{
    const ngx_http_sluice_loc_conf_t  *conf = ctx->conf;

    if (ctx->inflation->bytes_max == conf->inflated_bytes_max) {
        return ngx_slprintf(detail, last,
                            "the body inflates to more than %uz bytes, the most that is taken: "
                            "send fewer records at once", conf->inflated_bytes_max);
    }

    return ngx_slprintf(detail, last,
                        "the body inflates to more than %ui times its %uz bytes, beyond %uz bytes "
                        "the most that is taken: send fewer records at once",
                        conf->inflate_ratio_max, ctx->body.size(), sluice::kRatioFreeBytes);
}


static void
ngx_http_sluice_inflate_release(ngx_http_sluice_inflation_t *inflation)
{
    inflation->inflater.end();

    std::free(inflation->buffer);
    inflation->buffer = NULL;
    inflation->capacity = 0;

    ngx_http_sluice_commit_release(ngx_http_sluice_worker.commit, inflation->reserved);
    inflation->reserved = 0;
}


void
ngx_http_sluice_inflate_drop(ngx_http_sluice_inflate_t *inflate, ngx_http_sluice_ctx_t *ctx)
{
    if (ctx->inflation == NULL) {
        return;
    }

    if (ctx->inflation->queued) {
        ngx_http_sluice_worker.counters->abandoned++;
        ngx_http_sluice_inflate_leave(inflate, ctx);
    }

    ngx_http_sluice_inflate_release(ctx->inflation);
}


static void
ngx_http_sluice_inflate_enter(ngx_http_sluice_inflate_t *inflate, ngx_http_sluice_ctx_t *ctx)
{
    ngx_queue_insert_tail(&inflate->queue, &ctx->queue);
    ctx->inflation->queued = 1;

    if (!inflate->holding.timer_set) {
        ngx_add_timer(&inflate->holding, inflate->timeout);
    }
}


static void
ngx_http_sluice_inflate_leave(ngx_http_sluice_inflate_t *inflate, ngx_http_sluice_ctx_t *ctx)
{
    ngx_queue_remove(&ctx->queue);
    ctx->inflation->queued = 0;

    if (ngx_queue_empty(&inflate->queue) && inflate->holding.timer_set) {
        ngx_del_timer(&inflate->holding);
    }
}


/* One step for each, one after the other, until this turn's time is up. */

static void
ngx_http_sluice_inflate_turn(ngx_event_t *ev)
{
    uint64_t                    since_us = ngx_http_sluice_now_us();
    ngx_int_t                   rc;
    ngx_http_sluice_ctx_t      *ctx;
    ngx_http_sluice_inflate_t  *inflate = static_cast<ngx_http_sluice_inflate_t *>(ev->data);
    ngx_http_sluice_trouble_e   trouble;

    inflate->turn.spent_us = 0;

    while (!ngx_queue_empty(&inflate->queue) && !ngx_http_sluice_turn_is_over(&inflate->turn)) {

        ctx = ngx_http_sluice_first(&inflate->queue);
        rc = ngx_http_sluice_inflate_step(ctx, &trouble);

        if (rc == NGX_AGAIN) {
            ngx_queue_remove(&ctx->queue);
            ngx_queue_insert_tail(&inflate->queue, &ctx->queue);

        } else {
            ngx_http_sluice_inflate_leave(inflate, ctx);

            rc = rc == NGX_OK ? ngx_http_sluice_inflate_submit(ctx)
                              : ngx_http_sluice_inflate_refuse(ctx, trouble);
            if (rc != NGX_DONE) {
                ngx_http_sluice_answer_finish(ctx->request, rc);
            }
        }

        since_us = ngx_http_sluice_turn_charge(&inflate->turn, since_us);
    }
}


static void
ngx_http_sluice_inflate_hold(ngx_event_t *ev)
{
    ngx_http_sluice_inflate_t  *inflate = static_cast<ngx_http_sluice_inflate_t *>(ev->data);

    ngx_add_timer(&inflate->holding, inflate->timeout);
}

#include "ngx_http_sluice_commit.hpp"

#include <new>
#include <sys/random.h>

#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_flight.hpp"
#include "ngx_http_sluice_gate.hpp"
#include "ngx_http_sluice_hold.hpp"
#include "ngx_http_sluice_rows.hpp"
#include "ngx_http_sluice_shed.hpp"
#include "ngx_http_sluice_waiting.hpp"
#include "ngx_http_sluice_zone.hpp"


struct ngx_http_sluice_commit_s {
    ngx_http_sluice_main_conf_t  *conf;
    ngx_event_t                   flush;      /* at the end of this turn */
    ngx_queue_t                   parked;     /* requests without a frame, in their order */
    ngx_queue_t                   held;       /* requests that must wait for a limit */
    ngx_http_sluice_frame_t      *open;       /* NULL: every frame is in use */
    ngx_http_sluice_flight_t      flight;
    ngx_http_sluice_waiting_t     waiting;    /* in frames, parked and held */

    sluice::ProducerIds           producer_ids;
    sluice::JsonRows              json;
};


static ngx_int_t ngx_http_sluice_commit_place(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_ctx_t *ctx);
static ngx_uint_t ngx_http_sluice_commit_has_room(ngx_http_sluice_commit_t *commit,
    const ngx_http_sluice_ctx_t *ctx);
static ngx_int_t ngx_http_sluice_commit_hold(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_ctx_t *ctx, std::string_view rows);
static ngx_int_t ngx_http_sluice_commit_refuse(ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_trouble_e trouble);
static void ngx_http_sluice_commit_flush(ngx_event_t *ev);
static void ngx_http_sluice_commit_unpark(ngx_http_sluice_commit_t *commit);
static void ngx_http_sluice_commit_send_open(ngx_http_sluice_commit_t *commit);
static void ngx_http_sluice_commit_refuse_open(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_trouble_e trouble);
static void ngx_http_sluice_commit_overdue(ngx_event_t *ev);
static void ngx_http_sluice_commit_arm_deadline(ngx_http_sluice_commit_t *commit);


ngx_http_sluice_commit_t *
ngx_http_sluice_commit_create(ngx_cycle_t *cycle, ngx_http_sluice_main_conf_t *conf)
{
    void                      *memory;
    uint8_t                    seed[sluice::ProducerIds::kSeedBytes];
    ngx_http_sluice_commit_t  *commit;

    /* after the fork, or two workers would draw the same */
    if (getrandom(seed, sizeof(seed), 0) != static_cast<ssize_t>(sizeof(seed))) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno, "getrandom() failed");
        return NULL;
    }

    memory = ngx_pcalloc(cycle->pool, sizeof(ngx_http_sluice_commit_t));
    if (memory == NULL) {
        return NULL;
    }

    commit = new (memory) ngx_http_sluice_commit_t();
    commit->conf = conf;
    commit->producer_ids.seed(seed);

    commit->flush.handler = ngx_http_sluice_commit_flush;
    commit->flush.data = commit;
    commit->flush.log = cycle->log;

    /* not cancelable: a worker that is to leave waits for those who wait here */
    commit->waiting.overdue.handler = ngx_http_sluice_commit_overdue;
    commit->waiting.overdue.data = commit;
    commit->waiting.overdue.log = cycle->log;
    commit->waiting.timeout = conf->timeout;

    ngx_queue_init(&commit->parked);
    ngx_queue_init(&commit->held);
    ngx_http_sluice_flight_init(&commit->flight, &commit->waiting, &commit->flush);

    return commit;
}


void
ngx_http_sluice_commit_destroy(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_flight_destroy(&commit->flight);
    commit->~ngx_http_sluice_commit_s();
}


ngx_http_sluice_trouble_e
ngx_http_sluice_commit_trouble(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_redis_t  *redis = ngx_http_sluice_worker.redis;

    if (!ngx_http_sluice_redis_usable(redis)) {
        return NGX_HTTP_SLUICE_REDIS_AWAY;
    }

    if (ngx_http_sluice_redis_ready(redis)
        && ngx_http_sluice_durability(ngx_http_sluice_worker.zone) < commit->conf->durability)
    {
        return NGX_HTTP_SLUICE_NOT_DURABLE;
    }

    return NGX_HTTP_SLUICE_TROUBLES;
}


ngx_uint_t
ngx_http_sluice_commit_full(const ngx_http_sluice_commit_t *commit)
{
    return commit->waiting.requests == commit->conf->inflight_requests
           || commit->waiting.bytes >= commit->conf->inflight_bytes;
}


ngx_uint_t
ngx_http_sluice_commit_reserve(ngx_http_sluice_commit_t *commit, size_t bytes)
{
    return ngx_http_sluice_waiting_reserve(&commit->waiting, bytes, commit->conf->inflight_bytes);
}


void
ngx_http_sluice_commit_release(ngx_http_sluice_commit_t *commit, size_t bytes)
{
    ngx_http_sluice_waiting_release(&commit->waiting, bytes);
}


ngx_int_t
ngx_http_sluice_commit_submit(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_sluice_redis_t    *redis = ngx_http_sluice_worker.redis;
    ngx_http_sluice_trouble_e   trouble = ngx_http_sluice_commit_trouble(commit);

    if (trouble != NGX_HTTP_SLUICE_TROUBLES) {
        return ngx_http_sluice_commit_refuse(ctx, trouble);
    }

    if (commit->waiting.requests == commit->conf->inflight_requests
        || commit->waiting.bytes + ngx_http_sluice_waiting_bytes(ctx)
           > commit->conf->inflight_bytes)
    {
        return ngx_http_sluice_commit_refuse(ctx, NGX_HTTP_SLUICE_TOO_MANY_INFLIGHT);
    }

    ctx->deadline = ngx_current_msec + commit->conf->timeout;

    if (ngx_queue_empty(&commit->parked) && ngx_http_sluice_redis_ready(redis)
        && ngx_http_sluice_commit_has_room(commit, ctx))
    {
        return ngx_http_sluice_commit_place(commit, ctx);
    }

    ngx_http_sluice_waiting_enter(&commit->waiting, &commit->parked, ctx);

    return NGX_DONE;
}


void
ngx_http_sluice_commit_abandon(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx)
{
    if (ctx->waiting) {
        ngx_http_sluice_worker.counters->abandoned++;
        ngx_http_sluice_hold_drop(ctx);
        if (ctx->frame == NULL) {
            ngx_http_sluice_gate_give_back(ctx);
        }
        ngx_http_sluice_waiting_leave(&commit->waiting, ctx);
    }
}


void
ngx_http_sluice_commit_leave(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_sluice_waiting_leave(&commit->waiting, ctx);
}


ngx_uint_t
ngx_http_sluice_commit_waiting(ngx_http_sluice_commit_t *commit)
{
    return commit->waiting.requests != 0;
}


/*
 * An open frame that takes this request. One that is full leaves at once, if it may; and a keyed
 * request wants a frame of its own.
 */

static ngx_uint_t
ngx_http_sluice_commit_has_room(ngx_http_sluice_commit_t *commit,
    const ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_sluice_frame_t  *frame = commit->open;

    if (frame && frame->records && (ngx_http_sluice_frame_full(frame) || ctx->keyed)) {

        if (!ngx_http_sluice_flight_has_room(&commit->flight)) {
            return 0;
        }

        ngx_http_sluice_commit_send_open(commit);

        if (!ngx_http_sluice_redis_ready(ngx_http_sluice_worker.redis)) {
            return 0;
        }
    }

    if (commit->open == NULL) {
        commit->open = ngx_http_sluice_flight_take(&commit->flight);
    }

    return commit->open != NULL;
}


/* Rows of the request are written where they will be sent from. */

static ngx_int_t
ngx_http_sluice_commit_place(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx)
{
    char                     *rows;
    size_t                    size;
    ngx_int_t                 rc;
    ngx_time_t               *tp;
    ngx_http_sluice_frame_t  *frame = commit->open;

    rows = ngx_http_sluice_frame_make_room(frame, ngx_http_sluice_rows_room(ctx));
    if (rows == NULL) {
        return ngx_http_sluice_commit_refuse(ctx, NGX_HTTP_SLUICE_NO_MEMORY);
    }

    rc = ngx_http_sluice_rows_write(&commit->json, ctx, rows, &size);
    if (rc != NGX_DONE) {
        return rc;
    }

    if (ctx->hold_ms) {
        return ngx_http_sluice_commit_hold(commit, ctx, std::string_view(rows, size));
    }

    if (frame->records == 0) {
        tp = ngx_timeofday();
        frame->time_ms = static_cast<int64_t>(tp->sec) * 1000 + tp->msec;
        frame->deadline = ctx->deadline;
        frame->keyed = ctx->keyed;
        frame->id = ctx->keyed ? ctx->key_id : commit->producer_ids.next(frame->time_ms);
    }

    ctx->frame = frame;
    ctx->first = frame->records;
    ctx->rows_at = frame->size;
    ctx->rows_bytes = size;

    frame->size += size;
    frame->records += ctx->records;
    ngx_http_sluice_shed_taken(size);

    ngx_http_sluice_waiting_enter(&commit->waiting, &frame->requests, ctx);

    if (!commit->flush.posted) {
        ngx_post_event(&commit->flush, &ngx_posted_events);
    }

    return NGX_DONE;
}


/* Meanwhile there is its body and, apart from the frame, its rows. */

static ngx_int_t
ngx_http_sluice_commit_hold(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx,
    std::string_view rows)
{
    ctx->held_rows = rows;

    if (commit->waiting.bytes + ngx_http_sluice_waiting_bytes(ctx) > commit->conf->inflight_bytes) {
        return ngx_http_sluice_commit_refuse(ctx, NGX_HTTP_SLUICE_TOO_MANY_INFLIGHT);
    }

    return ngx_http_sluice_hold(&commit->waiting, &commit->held, ctx);
}


/* Nothing of it is in a frame; if it was held, its limits were charged already. */

static ngx_int_t
ngx_http_sluice_commit_refuse(ngx_http_sluice_ctx_t *ctx, ngx_http_sluice_trouble_e trouble)
{
    ngx_http_sluice_gate_give_back(ctx);

    return ngx_http_sluice_answer_trouble(ctx->request, trouble);
}


/* Any call from here may have changed everything: each step looks anew. */

static void
ngx_http_sluice_commit_flush(ngx_event_t *ev)
{
    ngx_http_sluice_redis_t   *redis = ngx_http_sluice_worker.redis;
    ngx_http_sluice_commit_t  *commit = static_cast<ngx_http_sluice_commit_t *>(ev->data);

    if (!ngx_http_sluice_redis_ready(redis)) {
        if (commit->waiting.requests) {
            /* while it can come back they wait; else redis_down() has answered them */
            (void) ngx_http_sluice_redis_usable(redis);
        }
        return;
    }

    if (ngx_http_sluice_durability(ngx_http_sluice_worker.zone) < commit->conf->durability) {
        /* whatever was to be sent would get a 200 that is not true */
        ngx_http_sluice_flight_refuse_again(&commit->flight, NGX_HTTP_SLUICE_NOT_DURABLE, 1);
        ngx_http_sluice_commit_refuse_open(commit, NGX_HTTP_SLUICE_NOT_DURABLE);
        ngx_http_sluice_waiting_refuse(&commit->waiting, &commit->parked,
                                       NGX_HTTP_SLUICE_NOT_DURABLE);
        return;
    }

    ngx_http_sluice_flight_send_again(&commit->flight);
    ngx_http_sluice_commit_unpark(commit);

    if (commit->open && commit->open->records && ngx_http_sluice_flight_has_room(&commit->flight)
        && ngx_http_sluice_redis_ready(redis))
    {
        ngx_http_sluice_commit_send_open(commit);
    }
}


static void
ngx_http_sluice_commit_unpark(ngx_http_sluice_commit_t *commit)
{
    ngx_int_t                 rc;
    ngx_http_sluice_ctx_t    *ctx;
    ngx_http_sluice_redis_t  *redis = ngx_http_sluice_worker.redis;

    while (!ngx_queue_empty(&commit->parked) && ngx_http_sluice_redis_ready(redis)) {
        ctx = ngx_http_sluice_first(&commit->parked);

        if (!ngx_http_sluice_commit_has_room(commit, ctx)) {
            return;
        }

        ngx_http_sluice_waiting_leave(&commit->waiting, ctx);

        rc = ngx_http_sluice_commit_place(commit, ctx);
        if (rc != NGX_DONE) {
            ngx_http_sluice_answer_finish(ctx->request, rc);
        }
    }
}


static void
ngx_http_sluice_commit_send_open(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_frame_t  *frame = commit->open;

    commit->open = NULL;
    ngx_http_sluice_frame_close(frame, commit->conf->stream);
    ngx_http_sluice_flight_send(&commit->flight, frame);
}


/* Nothing of an open frame was sent: it is forgotten with its requests. */

static void
ngx_http_sluice_commit_refuse_open(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_trouble_e trouble)
{
    ngx_http_sluice_frame_t  *frame = commit->open;

    if (frame) {
        /* answers may bring the next requests, which must not find this frame open */
        commit->open = NULL;
        ngx_http_sluice_flight_give_up(&commit->flight, frame, trouble);
    }
}


void
ngx_http_sluice_commit_redis_ready(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_commit_flush(&commit->flush);
}


/* What certainly did not happen is told at once; for the rest there is time until the deadline. */

void
ngx_http_sluice_commit_redis_down(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_flight_refuse_again(&commit->flight, NGX_HTTP_SLUICE_REDIS_AWAY, 0);
    ngx_http_sluice_commit_refuse_open(commit, NGX_HTTP_SLUICE_REDIS_AWAY);
    ngx_http_sluice_waiting_refuse(&commit->waiting, &commit->parked, NGX_HTTP_SLUICE_REDIS_AWAY);
}


/*
 * Requests wait in the order in which they came, so only the first of each queue can be the one
 * that waits longest.
 */

static void
ngx_http_sluice_commit_overdue(ngx_event_t *ev)
{
    ngx_http_sluice_ctx_t     *ctx;
    ngx_http_sluice_commit_t  *commit = static_cast<ngx_http_sluice_commit_t *>(ev->data);

    while (!ngx_queue_empty(&commit->parked)) {
        ctx = ngx_http_sluice_first(&commit->parked);
        if (!ngx_http_sluice_is_past(ctx->deadline)) {
            break;
        }
        ngx_http_sluice_waiting_leave(&commit->waiting, ctx);
        ngx_http_sluice_answer_finish(ctx->request,
            ngx_http_sluice_commit_refuse(ctx, NGX_HTTP_SLUICE_REDIS_SLOW));
    }

    if (commit->open && commit->open->records && ngx_http_sluice_frame_overdue(commit->open)) {
        ngx_http_sluice_commit_refuse_open(commit, NGX_HTTP_SLUICE_REDIS_SLOW);
    }

    ngx_http_sluice_flight_refuse_overdue(&commit->flight);
    ngx_http_sluice_flight_look(&commit->flight);

    if (commit->waiting.requests) {
        ngx_http_sluice_commit_arm_deadline(commit);
    }
}


void
ngx_http_sluice_commit_look(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_flight_look(&commit->flight);
}


static void
ngx_http_sluice_commit_arm_deadline(ngx_http_sluice_commit_t *commit)
{
    ngx_msec_t      deadline = ngx_current_msec + commit->conf->timeout;
    ngx_msec_int_t  delay;

    auto earlier = [&deadline](ngx_msec_t other) {
        if (static_cast<ngx_msec_int_t>(other - deadline) < 0) {
            deadline = other;
        }
    };

    if (!ngx_queue_empty(&commit->parked)) {
        earlier(ngx_http_sluice_first(&commit->parked)->deadline);
    }

    for (ngx_http_sluice_frame_t &frame : commit->flight.frames) {
        if (!ngx_queue_empty(&frame.requests)) {
            earlier(ngx_http_sluice_frame_deadline(&frame));
        }
    }

    delay = static_cast<ngx_msec_int_t>(deadline - ngx_current_msec);
    ngx_add_timer(&commit->waiting.overdue, ngx_max(delay, 1));
}

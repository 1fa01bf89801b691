#include "ngx_http_sluice_commit.hpp"

#include <new>
#include <sys/random.h>

#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_errors.hpp"
#include "ngx_http_sluice_frame.hpp"
#include "ngx_http_sluice_log.hpp"
#include "ngx_http_sluice_zone.hpp"


/* In flight at once; more gain nothing, for frames grow while these are on their way. */
#define NGX_HTTP_SLUICE_FRAMES  4


struct ngx_http_sluice_commit_s {
    ngx_http_sluice_main_conf_t  *conf;
    ngx_event_t                   flush;      /* at the end of this turn */
    ngx_event_t                   deadline;   /* of the request that waits longest */

    ngx_queue_t                   free;       /* frames */
    ngx_queue_t                   again;      /* frames to be sent again, in their order */
    ngx_http_sluice_frame_t      *open;       /* NULL: every frame is on its way */
    ngx_uint_t                    inflight;   /* frames */
    ngx_http_sluice_frame_t       frames[NGX_HTTP_SLUICE_FRAMES + 1];

    ngx_queue_t                   parked;     /* requests without a frame, in their order */
    ngx_uint_t                    requests;   /* that wait, in frames and parked */
    size_t                        bytes;      /* of their bodies */

    sluice::ProducerIds           producer_ids;
    sluice::JsonRows              json;
};


static ngx_int_t ngx_http_sluice_commit_place(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_ctx_t *ctx);
static ngx_uint_t ngx_http_sluice_commit_has_room(ngx_http_sluice_commit_t *commit,
    const ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_commit_wait(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_ctx_t *ctx, ngx_queue_t *queue);
static void ngx_http_sluice_commit_leave(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_commit_post(ngx_http_sluice_commit_t *commit);
static void ngx_http_sluice_commit_flush(ngx_event_t *ev);
static void ngx_http_sluice_commit_unpark(ngx_http_sluice_commit_t *commit);
static void ngx_http_sluice_commit_send_open(ngx_http_sluice_commit_t *commit);
static void ngx_http_sluice_commit_send(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_frame_t *frame);
static void ngx_http_sluice_commit_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply);
static void ngx_http_sluice_commit_stored(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_frame_t *frame, std::string_view entry_id);
static void ngx_http_sluice_commit_refused(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_frame_t *frame, std::string_view error);
static void ngx_http_sluice_commit_lost(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_frame_t *frame);
static void ngx_http_sluice_commit_give_up(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_frame_t *frame, ngx_http_sluice_trouble_e trouble);
static void ngx_http_sluice_commit_refuse_all(ngx_http_sluice_commit_t *commit,
    ngx_queue_t *queue, ngx_http_sluice_trouble_e trouble);
static void ngx_http_sluice_commit_refuse_open(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_trouble_e trouble);
static void ngx_http_sluice_commit_refuse_again(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_trouble_e trouble, ngx_uint_t all);
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
    commit->deadline.handler = ngx_http_sluice_commit_overdue;
    commit->deadline.data = commit;
    commit->deadline.log = cycle->log;

    ngx_queue_init(&commit->parked);
    ngx_queue_init(&commit->again);
    ngx_queue_init(&commit->free);

    for (ngx_http_sluice_frame_t &frame : commit->frames) {
        frame.command.handler = ngx_http_sluice_commit_reply;
        ngx_queue_init(&frame.requests);
        ngx_queue_insert_tail(&commit->free, &frame.queue);
    }

    return commit;
}


void
ngx_http_sluice_commit_destroy(ngx_http_sluice_commit_t *commit)
{
    for (ngx_http_sluice_frame_t &frame : commit->frames) {
        ngx_http_sluice_frame_release(&frame, 1);
    }

    commit->~ngx_http_sluice_commit_s();
}


ngx_int_t
ngx_http_sluice_commit_submit(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_request_t       *r = ctx->request;
    ngx_http_sluice_redis_t  *redis = ngx_http_sluice_worker.redis;

    if (!ngx_http_sluice_redis_usable(redis)) {
        return ngx_http_sluice_answer_trouble(r, NGX_HTTP_SLUICE_REDIS_AWAY);
    }

    if (ngx_http_sluice_redis_ready(redis)
        && ngx_http_sluice_durability(ngx_http_sluice_worker.zone) < commit->conf->durability)
    {
        return ngx_http_sluice_answer_trouble(r, NGX_HTTP_SLUICE_NOT_DURABLE);
    }

    if (commit->requests == commit->conf->inflight_requests
        || commit->bytes + ctx->body.size() > commit->conf->inflight_bytes)
    {
        return ngx_http_sluice_answer_trouble(r, NGX_HTTP_SLUICE_TOO_MANY_INFLIGHT);
    }

    ctx->deadline = ngx_current_msec + commit->conf->timeout;

    if (ngx_queue_empty(&commit->parked) && ngx_http_sluice_redis_ready(redis)
        && ngx_http_sluice_commit_has_room(commit, ctx))
    {
        return ngx_http_sluice_commit_place(commit, ctx);
    }

    ngx_http_sluice_commit_wait(commit, ctx, &commit->parked);

    return NGX_DONE;
}


void
ngx_http_sluice_commit_abandon(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx)
{
    if (ctx->waiting) {
        ngx_http_sluice_worker.counters->abandoned++;
        ngx_http_sluice_commit_leave(commit, ctx);
    }
}


ngx_uint_t
ngx_http_sluice_commit_waiting(ngx_http_sluice_commit_t *commit)
{
    return commit->requests != 0;
}


/*
 * An open frame that takes this request. One that is full leaves at once, if it may; and a keyed
 * request wants a frame of its own.
 */

static ngx_uint_t
ngx_http_sluice_commit_has_room(ngx_http_sluice_commit_t *commit,
    const ngx_http_sluice_ctx_t *ctx)
{
    ngx_queue_t              *q;
    ngx_http_sluice_frame_t  *frame = commit->open;

    if (frame && frame->records && (ngx_http_sluice_frame_full(frame) || ctx->keyed)) {

        if (commit->inflight == NGX_HTTP_SLUICE_FRAMES) {
            return 0;
        }

        ngx_http_sluice_commit_send_open(commit);

        if (!ngx_http_sluice_redis_ready(ngx_http_sluice_worker.redis)) {
            return 0;
        }
    }

    if (commit->open == NULL) {
        if (ngx_queue_empty(&commit->free)) {
            return 0;
        }

        q = ngx_queue_head(&commit->free);
        ngx_queue_remove(q);
        commit->open = ngx_queue_data(q, ngx_http_sluice_frame_t, queue);
        ngx_http_sluice_frame_open(commit->open);
    }

    return 1;
}


/* Rows of the request are written where they will be sent from. */

static ngx_int_t
ngx_http_sluice_commit_place(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx)
{
    char                        *rows, *end;
    ngx_time_t                  *tp;
    sluice::BodyRows             body;
    sluice::BodyLimits           limits;
    ngx_http_sluice_frame_t     *frame = commit->open;
    ngx_http_sluice_counters_t  *counters = ngx_http_sluice_worker.counters;

    limits.records_max = ctx->conf->records_max;
    limits.record_bytes_max = ctx->conf->record_bytes_max;
    limits.unknown_fields_refused = ctx->conf->unknown_fields != 0;

    rows = ngx_http_sluice_frame_make_room(frame, sluice::rows_bytes_max(ctx->body.size()));
    if (rows == NULL) {
        return ngx_http_sluice_answer_trouble(ctx->request, NGX_HTTP_SLUICE_NO_MEMORY);
    }

    end = commit->json.parse(ctx->conf->ingest == NGX_HTTP_SLUICE_LOG ? sluice::BodyShape::kRecord
                                                                      : sluice::BodyShape::kBatch,
                             ctx->body, limits, rows, &body);

    ctx->records = body.records;
    counters->body_bytes += ctx->body.size();

    if (body.refusal != sluice::Refusal::kNone) {
        return ngx_http_sluice_answer_refusal(ctx, body);
    }

    counters->nuls_replaced += body.nuls_replaced;
    counters->unknown_fields += body.unknown_fields;

    if (frame->records == 0) {
        tp = ngx_timeofday();
        frame->time_ms = static_cast<int64_t>(tp->sec) * 1000 + tp->msec;
        frame->deadline = ctx->deadline;
        frame->keyed = ctx->keyed;
        frame->id = ctx->keyed ? ctx->key_id : commit->producer_ids.next(frame->time_ms);
    }

    ctx->frame = frame;
    ctx->first = frame->records;

    frame->size += end - rows;
    frame->records += body.records;

    ngx_http_sluice_commit_wait(commit, ctx, &frame->requests);
    ngx_http_sluice_commit_post(commit);

    return NGX_DONE;
}


static void
ngx_http_sluice_commit_wait(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx,
    ngx_queue_t *queue)
{
    ngx_queue_insert_tail(queue, &ctx->queue);

    ctx->waiting = 1;
    commit->requests++;
    commit->bytes += ctx->body.size();

    ngx_http_sluice_worker.counters->inflight_requests = commit->requests;
    ngx_http_sluice_worker.counters->inflight_bytes = commit->bytes;

    if (!commit->deadline.timer_set) {
        ngx_add_timer(&commit->deadline, commit->conf->timeout);
    }
}


static void
ngx_http_sluice_commit_leave(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx)
{
    ngx_queue_remove(&ctx->queue);

    ctx->waiting = 0;
    commit->requests--;
    commit->bytes -= ctx->body.size();

    ngx_http_sluice_worker.counters->inflight_requests = commit->requests;
    ngx_http_sluice_worker.counters->inflight_bytes = commit->bytes;

    /* with somebody left it only looks again too early; with nobody it must not hold the worker */
    if (commit->requests == 0 && commit->deadline.timer_set) {
        ngx_del_timer(&commit->deadline);
    }
}


static void
ngx_http_sluice_commit_post(ngx_http_sluice_commit_t *commit)
{
    if (!commit->flush.posted) {
        ngx_post_event(&commit->flush, &ngx_posted_events);
    }
}


/* Any call from here may have changed everything: each step looks anew. */

static void
ngx_http_sluice_commit_flush(ngx_event_t *ev)
{
    ngx_queue_t               *q;
    ngx_http_sluice_frame_t   *frame;
    ngx_http_sluice_redis_t   *redis = ngx_http_sluice_worker.redis;
    ngx_http_sluice_commit_t  *commit = static_cast<ngx_http_sluice_commit_t *>(ev->data);

    if (!ngx_http_sluice_redis_ready(redis)) {
        if (commit->requests) {
            /* while it can come back they wait; else redis_down() has answered them */
            (void) ngx_http_sluice_redis_usable(redis);
        }
        return;
    }

    if (ngx_http_sluice_durability(ngx_http_sluice_worker.zone) < commit->conf->durability) {
        /* whatever was to be sent would get a 200 that is not true */
        ngx_http_sluice_commit_refuse_again(commit, NGX_HTTP_SLUICE_NOT_DURABLE, 1);
        ngx_http_sluice_commit_refuse_open(commit, NGX_HTTP_SLUICE_NOT_DURABLE);
        ngx_http_sluice_commit_refuse_all(commit, &commit->parked, NGX_HTTP_SLUICE_NOT_DURABLE);
        return;
    }

    while (!ngx_queue_empty(&commit->again) && ngx_http_sluice_redis_ready(redis)) {
        q = ngx_queue_head(&commit->again);
        ngx_queue_remove(q);
        frame = ngx_queue_data(q, ngx_http_sluice_frame_t, queue);

        if (ngx_queue_empty(&frame->requests) || ngx_http_sluice_frame_overdue(frame)) {
            ngx_http_sluice_commit_give_up(commit, frame, NGX_HTTP_SLUICE_REDIS_SLOW);
            continue;
        }

        ngx_http_sluice_worker.counters->frames[NGX_HTTP_SLUICE_FRAME_RESENT]++;
        ngx_http_sluice_commit_send(commit, frame);
    }

    ngx_http_sluice_commit_unpark(commit);

    if (commit->open && commit->open->records && commit->inflight < NGX_HTTP_SLUICE_FRAMES
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

        ngx_http_sluice_commit_leave(commit, ctx);

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
    ngx_http_sluice_commit_send(commit, frame);
}


static void
ngx_http_sluice_commit_send(ngx_http_sluice_commit_t *commit, ngx_http_sluice_frame_t *frame)
{
    frame->sent = 1;
    frame->sent_us = ngx_http_sluice_now_us();
    frame->command.replies = 1;

    commit->inflight++;
    ngx_http_sluice_worker.counters->inflight_frames = commit->inflight;

    ngx_http_sluice_redis_send(ngx_http_sluice_worker.redis, &frame->command);
}


static void
ngx_http_sluice_commit_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply)
{
    ngx_http_sluice_frame_t     *frame = ngx_queue_data(command, ngx_http_sluice_frame_t, command);
    ngx_http_sluice_commit_t    *commit = ngx_http_sluice_worker.commit;
    ngx_http_sluice_counters_t  *counters = ngx_http_sluice_worker.counters;

    frame->sent = 0;
    commit->inflight--;
    counters->inflight_frames = commit->inflight;

    ngx_http_sluice_commit_post(commit);

    if (outcome == NGX_HTTP_SLUICE_NOT_SENT) {
        counters->frames[NGX_HTTP_SLUICE_FRAME_NOT_SENT]++;
        ngx_http_sluice_commit_lost(commit, frame);

    } else if (outcome == NGX_HTTP_SLUICE_UNKNOWN) {
        counters->frames[NGX_HTTP_SLUICE_FRAME_UNKNOWN]++;
        frame->maybe_stored = 1;
        ngx_http_sluice_commit_lost(commit, frame);

    } else if (reply->type == sluice::ReplyType::kBulk && sluice::is_entry_id(reply->text)) {
        ngx_http_sluice_commit_stored(commit, frame, reply->text);

    } else if (reply->type == sluice::ReplyType::kError) {
        ngx_http_sluice_commit_refused(commit, frame, reply->text);

    } else {
        /* not what XADD answers: replies and commands are out of step */
        counters->frames[NGX_HTTP_SLUICE_FRAME_UNKNOWN]++;
        ngx_http_sluice_commit_give_up(commit, frame, NGX_HTTP_SLUICE_OUTCOME_UNKNOWN);
        ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis, "not a reply to XADD");
    }
}


static void
ngx_http_sluice_commit_stored(ngx_http_sluice_commit_t *commit, ngx_http_sluice_frame_t *frame,
    std::string_view entry_id)
{
    uint64_t                     us;
    ngx_http_sluice_ctx_t       *ctx;
    ngx_http_sluice_counters_t  *counters = ngx_http_sluice_worker.counters;

    us = ngx_http_sluice_now_us() - frame->sent_us;

    counters->frames[NGX_HTTP_SLUICE_FRAME_STORED]++;
    counters->row_bytes += frame->size;
    counters->frame_records[ngx_http_sluice_bucket(ngx_http_sluice_records_bounds,
                                NGX_HTTP_SLUICE_RECORDS_BOUNDS, frame->records)]++;
    counters->frame_records_sum += frame->records;
    counters->redis_time[ngx_http_sluice_bucket(ngx_http_sluice_time_bounds,
                                NGX_HTTP_SLUICE_TIME_BOUNDS, us)]++;
    counters->redis_time_sum += us;

    /* finalizing may bring the next request of a connection, which goes into another frame */
    while (!ngx_queue_empty(&frame->requests)) {
        ctx = ngx_http_sluice_first(&frame->requests);
        ngx_http_sluice_commit_leave(commit, ctx);
        ctx->redis_us = us;
        ngx_http_sluice_answer_finish(ctx->request,
            ngx_http_sluice_answer_queued(ctx, entry_id, frame->time_ms));
    }

    ngx_http_sluice_frame_release(frame, 0);
    ngx_queue_insert_head(&commit->free, &frame->queue);
}


static void
ngx_http_sluice_commit_refused(ngx_http_sluice_commit_t *commit, ngx_http_sluice_frame_t *frame,
    std::string_view error)
{
    ngx_str_t         text = ngx_http_sluice_str(error);
    const ngx_uint_t  kind = ngx_http_sluice_redis_error(error);

    const ngx_http_sluice_error_meaning_t  *meaning = &ngx_http_sluice_error_meanings[kind];

    ngx_http_sluice_worker.counters->frames[NGX_HTTP_SLUICE_FRAME_REFUSED]++;
    ngx_http_sluice_worker.counters->redis_errors[kind]++;

    if (ngx_http_sluice_log_allowed(NGX_HTTP_SLUICE_LOG_REFUSED_FRAME)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "Redis refused a frame of %uD records: %V",
                      frame->records, &text);
    }

    ngx_http_sluice_commit_give_up(commit, frame, meaning->trouble);

    if (meaning->drop) {
        ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis,
                                   "it may not be the right one any more");
    }
}


/* There may be another connection in time; redis_down() tells if not. */

static void
ngx_http_sluice_commit_lost(ngx_http_sluice_commit_t *commit, ngx_http_sluice_frame_t *frame)
{
    if (ngx_queue_empty(&frame->requests) || ngx_http_sluice_frame_overdue(frame)) {
        ngx_http_sluice_commit_give_up(commit, frame, NGX_HTTP_SLUICE_REDIS_SLOW);
        return;
    }

    ngx_queue_insert_tail(&commit->again, &frame->queue);
}


/* If the frame was sent before, and nothing is known of that, no answer may deny that it is stored. */

static void
ngx_http_sluice_commit_give_up(ngx_http_sluice_commit_t *commit, ngx_http_sluice_frame_t *frame,
    ngx_http_sluice_trouble_e trouble)
{
    ngx_http_sluice_commit_refuse_all(commit, &frame->requests,
                                      frame->maybe_stored ? NGX_HTTP_SLUICE_OUTCOME_UNKNOWN
                                                          : trouble);

    ngx_http_sluice_frame_release(frame, 0);
    ngx_queue_insert_head(&commit->free, &frame->queue);
    ngx_http_sluice_commit_post(commit);
}


static void
ngx_http_sluice_commit_refuse_all(ngx_http_sluice_commit_t *commit, ngx_queue_t *queue,
    ngx_http_sluice_trouble_e trouble)
{
    ngx_http_sluice_ctx_t  *ctx;

    while (!ngx_queue_empty(queue)) {
        ctx = ngx_http_sluice_first(queue);
        ngx_http_sluice_commit_leave(commit, ctx);
        ngx_http_sluice_answer_finish(ctx->request,
                                      ngx_http_sluice_answer_trouble(ctx->request, trouble));
    }
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
        ngx_http_sluice_commit_give_up(commit, frame, trouble);
    }
}


void
ngx_http_sluice_commit_redis_ready(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_commit_flush(&commit->flush);
}


/* Of the frames to be sent again: all, or those of which no byte was sent yet. */

static void
ngx_http_sluice_commit_refuse_again(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_trouble_e trouble, ngx_uint_t all)
{
    ngx_queue_t              *q, *next;
    ngx_http_sluice_frame_t  *frame;

    for (q = ngx_queue_head(&commit->again); q != ngx_queue_sentinel(&commit->again); q = next) {
        next = ngx_queue_next(q);
        frame = ngx_queue_data(q, ngx_http_sluice_frame_t, queue);

        if (all || !frame->maybe_stored) {
            ngx_queue_remove(q);
            ngx_http_sluice_commit_give_up(commit, frame, trouble);
        }
    }
}


/* What certainly did not happen is told at once; for the rest there is time until the deadline. */

void
ngx_http_sluice_commit_redis_down(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_commit_refuse_again(commit, NGX_HTTP_SLUICE_REDIS_AWAY, 0);
    ngx_http_sluice_commit_refuse_open(commit, NGX_HTTP_SLUICE_REDIS_AWAY);
    ngx_http_sluice_commit_refuse_all(commit, &commit->parked, NGX_HTTP_SLUICE_REDIS_AWAY);
}


/*
 * Requests wait in the order in which they came, so only the first of each queue can be the one
 * that waits longest. A reply that is overdue takes the connection with it: replies have no names,
 * so none can be skipped.
 */

static void
ngx_http_sluice_commit_overdue(ngx_event_t *ev)
{
    ngx_queue_t               *q;
    ngx_http_sluice_ctx_t     *ctx;
    ngx_http_sluice_frame_t   *frame;
    ngx_http_sluice_commit_t  *commit = static_cast<ngx_http_sluice_commit_t *>(ev->data);

    while (!ngx_queue_empty(&commit->parked)) {
        ctx = ngx_http_sluice_first(&commit->parked);
        if (!ngx_http_sluice_is_past(ctx->deadline)) {
            break;
        }
        ngx_http_sluice_commit_leave(commit, ctx);
        ngx_http_sluice_answer_finish(ctx->request,
            ngx_http_sluice_answer_trouble(ctx->request, NGX_HTTP_SLUICE_REDIS_SLOW));
    }

    if (commit->open && commit->open->records && ngx_http_sluice_frame_overdue(commit->open)) {
        ngx_http_sluice_commit_refuse_open(commit, NGX_HTTP_SLUICE_REDIS_SLOW);
    }

    while (!ngx_queue_empty(&commit->again)) {
        q = ngx_queue_head(&commit->again);
        frame = ngx_queue_data(q, ngx_http_sluice_frame_t, queue);
        if (!ngx_http_sluice_frame_overdue(frame)) {
            break;
        }
        ngx_queue_remove(q);
        ngx_http_sluice_commit_give_up(commit, frame, NGX_HTTP_SLUICE_REDIS_SLOW);
    }

    ngx_http_sluice_commit_look(commit);

    if (commit->requests) {
        ngx_http_sluice_commit_arm_deadline(commit);
    }
}


void
ngx_http_sluice_commit_look(ngx_http_sluice_commit_t *commit)
{
    ngx_uint_t  overdue = 0;

    for (ngx_http_sluice_frame_t &frame : commit->frames) {
        overdue |= frame.sent && ngx_http_sluice_frame_overdue(&frame);
    }

    if (overdue) {
        ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis, "a reply is overdue");
    }
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

    for (ngx_http_sluice_frame_t &frame : commit->frames) {
        if (!ngx_queue_empty(&frame.requests)) {
            earlier(ngx_http_sluice_frame_deadline(&frame));
        }
    }

    delay = static_cast<ngx_msec_int_t>(deadline - ngx_current_msec);
    ngx_add_timer(&commit->deadline, ngx_max(delay, 1));
}

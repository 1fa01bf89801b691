#include "ngx_http_sluice_commit.hpp"

#include <new>
#include <sys/random.h>

#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_redis.hpp"
#include "ngx_http_sluice_zone.hpp"


/* In flight at once; more gain nothing, for frames grow while these are on their way. */
#define NGX_HTTP_SLUICE_FRAMES          4

/* A frame takes no further request once it has reached one of these. */
#define NGX_HTTP_SLUICE_FRAME_BYTES     (1024 * 1024)
#define NGX_HTTP_SLUICE_FRAME_RECORDS   20000

/* Buffers grow with the largest frames so far; beyond this they are given back. */
#define NGX_HTTP_SLUICE_BUFFER_MIN      (64 * 1024)
#define NGX_HTTP_SLUICE_BUFFER_KEPT     (4 * NGX_HTTP_SLUICE_FRAME_BYTES)


/*
 *    buffer            rows                    rows + size           buffer + capacity
 *    | room for the head | n rows of all requests | room for the tail    |
 */

struct ngx_http_sluice_frame_s {
    ngx_queue_t                queue;      /* in commit->free */
    ngx_http_sluice_command_t  command;
    ngx_queue_t                requests;   /* in the order of their records */

    char                      *buffer;
    size_t                     capacity;
    size_t                     size;       /* of the rows */
    uint32_t                   records;
    ngx_msec_t                 deadline;   /* of its first request */
    int64_t                    time_ms;
};


struct ngx_http_sluice_commit_s {
    ngx_http_sluice_main_conf_t  *conf;
    ngx_event_t                   flush;      /* at the end of this turn */
    ngx_event_t                   deadline;   /* of the request that waits longest */

    ngx_queue_t                   free;       /* frames */
    ngx_http_sluice_frame_t      *open;       /* NULL: all frames are in flight */
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
static ngx_int_t ngx_http_sluice_commit_make_room(ngx_http_sluice_frame_t *frame, size_t size);
static ngx_uint_t ngx_http_sluice_commit_has_room(ngx_http_sluice_commit_t *commit);
static void ngx_http_sluice_commit_wait(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_ctx_t *ctx, ngx_queue_t *queue);
static void ngx_http_sluice_commit_leave(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_commit_flush(ngx_http_sluice_commit_t *commit);
static void ngx_http_sluice_commit_unpark(ngx_http_sluice_commit_t *commit);
static void ngx_http_sluice_commit_send(ngx_http_sluice_commit_t *commit);
static void ngx_http_sluice_commit_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply);
static void ngx_http_sluice_commit_free(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_frame_t *frame);
static void ngx_http_sluice_commit_refuse_all(ngx_http_sluice_commit_t *commit,
    ngx_queue_t *queue, ngx_http_sluice_trouble_e trouble);
static void ngx_http_sluice_commit_refuse_open(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_trouble_e trouble);
static void ngx_http_sluice_commit_flush_handler(ngx_event_t *ev);
static void ngx_http_sluice_commit_deadline_handler(ngx_event_t *ev);
static void ngx_http_sluice_commit_arm_deadline(ngx_http_sluice_commit_t *commit);
static ngx_http_sluice_ctx_t *ngx_http_sluice_commit_first(ngx_queue_t *queue);


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

    commit->flush.handler = ngx_http_sluice_commit_flush_handler;
    commit->flush.data = commit;
    commit->flush.log = cycle->log;

    /* not cancelable: a worker that is to leave waits for those who wait here */
    commit->deadline.handler = ngx_http_sluice_commit_deadline_handler;
    commit->deadline.data = commit;
    commit->deadline.log = cycle->log;

    ngx_queue_init(&commit->parked);
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
        if (frame.buffer) {
            ngx_free(frame.buffer);
        }
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
        && ngx_http_sluice_commit_has_room(commit))
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
        ngx_http_sluice_commit_leave(commit, ctx);
    }
}


/* An open frame that takes another request; a full one leaves at once if it may. */

static ngx_uint_t
ngx_http_sluice_commit_has_room(ngx_http_sluice_commit_t *commit)
{
    ngx_queue_t              *q;
    ngx_http_sluice_frame_t  *frame = commit->open;

    if (frame && (frame->size >= NGX_HTTP_SLUICE_FRAME_BYTES
                  || frame->records >= NGX_HTTP_SLUICE_FRAME_RECORDS))
    {
        if (commit->inflight == NGX_HTTP_SLUICE_FRAMES) {
            return 0;
        }
        ngx_http_sluice_commit_send(commit);
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
        commit->open->size = 0;
        commit->open->records = 0;
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
    ngx_http_sluice_loc_conf_t  *slcf = ctx->conf;

    limits.records_max = slcf->records_max;
    limits.record_bytes_max = slcf->record_bytes_max;
    limits.unknown_fields_refused = slcf->unknown_fields != 0;

    if (ngx_http_sluice_commit_make_room(frame, sluice::rows_bytes_max(ctx->body.size()))
        != NGX_OK)
    {
        return ngx_http_sluice_answer_trouble(ctx->request, NGX_HTTP_SLUICE_NO_MEMORY);
    }

    rows = frame->buffer + sluice::kFrameHeadBytesMax + frame->size;
    end = commit->json.parse(slcf->ingest == NGX_HTTP_SLUICE_LOG ? sluice::BodyShape::kRecord
                                                                 : sluice::BodyShape::kBatch,
                             ctx->body, limits, rows, &body);

    if (body.refusal != sluice::Refusal::kNone) {
        return ngx_http_sluice_answer_refusal(ctx->request, slcf, ctx->body, body);
    }

    if (frame->records == 0) {
        tp = ngx_timeofday();
        frame->time_ms = static_cast<int64_t>(tp->sec) * 1000 + tp->msec;
        frame->deadline = ctx->deadline;
    }

    ctx->frame = frame;
    ctx->first = frame->records;
    ctx->records = body.records;

    frame->size += end - rows;
    frame->records += body.records;

    ngx_http_sluice_commit_wait(commit, ctx, &frame->requests);

    if (!commit->flush.posted) {
        ngx_post_event(&commit->flush, &ngx_posted_events);
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_sluice_commit_make_room(ngx_http_sluice_frame_t *frame, size_t size)
{
    char    *buffer;
    size_t   used = sluice::kFrameHeadBytesMax + frame->size;
    size_t   need = used + size + sluice::kFrameTailBytes;

    if (need <= frame->capacity) {
        return NGX_OK;
    }

    need = ngx_max(need, 2 * frame->capacity);
    need = ngx_max(need, NGX_HTTP_SLUICE_BUFFER_MIN);

    buffer = static_cast<char *>(ngx_alloc(need, ngx_cycle->log));
    if (buffer == NULL) {
        return NGX_ERROR;
    }

    if (frame->buffer) {
        ngx_memcpy(buffer, frame->buffer, used);
        ngx_free(frame->buffer);
    }

    frame->buffer = buffer;
    frame->capacity = need;

    return NGX_OK;
}


static void
ngx_http_sluice_commit_wait(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx,
    ngx_queue_t *queue)
{
    ngx_queue_insert_tail(queue, &ctx->queue);

    ctx->waiting = 1;
    commit->requests++;
    commit->bytes += ctx->body.size();

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

    /* late, the timer only looks again; but with nobody waiting it must not hold the worker */
    if (commit->requests == 0 && commit->deadline.timer_set) {
        ngx_del_timer(&commit->deadline);
    }
}


static void
ngx_http_sluice_commit_flush_handler(ngx_event_t *ev)
{
    ngx_http_sluice_commit_flush(static_cast<ngx_http_sluice_commit_t *>(ev->data));
}


/* Any call from here may have changed everything: each step looks anew. */

static void
ngx_http_sluice_commit_flush(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_redis_t  *redis = ngx_http_sluice_worker.redis;

    if (!ngx_http_sluice_redis_ready(redis)) {
        /* while it can still come back the requests wait; else down() has refused them */
        (void) ngx_http_sluice_redis_usable(redis);
        return;
    }

    ngx_http_sluice_commit_unpark(commit);

    if (commit->open && commit->open->records && commit->inflight < NGX_HTTP_SLUICE_FRAMES
        && ngx_http_sluice_redis_ready(redis))
    {
        ngx_http_sluice_commit_send(commit);
    }
}


static void
ngx_http_sluice_commit_unpark(ngx_http_sluice_commit_t *commit)
{
    ngx_int_t                 rc;
    ngx_http_sluice_ctx_t    *ctx;
    ngx_http_sluice_redis_t  *redis = ngx_http_sluice_worker.redis;

    while (!ngx_queue_empty(&commit->parked)
           && ngx_http_sluice_redis_ready(redis)
           && ngx_http_sluice_commit_has_room(commit))
    {
        ctx = ngx_http_sluice_commit_first(&commit->parked);
        ngx_http_sluice_commit_leave(commit, ctx);

        if (ngx_http_sluice_durability(ngx_http_sluice_worker.zone) < commit->conf->durability) {
            rc = ngx_http_sluice_answer_trouble(ctx->request, NGX_HTTP_SLUICE_NOT_DURABLE);
        } else {
            rc = ngx_http_sluice_commit_place(commit, ctx);
        }

        if (rc != NGX_DONE) {
            ngx_http_sluice_answer_finish(ctx->request, rc);
        }
    }
}


static void
ngx_http_sluice_commit_send(ngx_http_sluice_commit_t *commit)
{
    char                       *rows;
    sluice::FrameHead           head;
    ngx_http_sluice_frame_t    *frame = commit->open;
    ngx_http_sluice_command_t  *command = &frame->command;

    rows = frame->buffer + sluice::kFrameHeadBytesMax;

    head.stream = ngx_http_sluice_view(commit->conf->stream);
    head.producer_id = commit->producer_ids.next(frame->time_ms);
    head.receive_time_ms = frame->time_ms;
    head.records = frame->records;
    head.rows_bytes = frame->size;

    command->start = sluice::write_frame_head(head, rows);
    command->last = sluice::write_frame_tail(rows + frame->size);
    command->replies = 1;

    commit->open = NULL;
    commit->inflight++;

    ngx_http_sluice_redis_send(ngx_http_sluice_worker.redis, command);
}


static void
ngx_http_sluice_commit_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply)
{
    ngx_str_t                   text;
    ngx_uint_t                  drop = 0;
    ngx_http_sluice_ctx_t      *ctx;
    ngx_http_sluice_frame_t    *frame = ngx_queue_data(command, ngx_http_sluice_frame_t, command);
    ngx_http_sluice_commit_t   *commit = ngx_http_sluice_worker.commit;
    ngx_http_sluice_trouble_e   trouble;

    if (outcome == NGX_HTTP_SLUICE_REPLIED && reply->type == sluice::ReplyType::kBulk) {

        while (!ngx_queue_empty(&frame->requests)) {
            ctx = ngx_http_sluice_commit_first(&frame->requests);
            ngx_http_sluice_commit_leave(commit, ctx);
            ngx_http_sluice_answer_finish(ctx->request,
                ngx_http_sluice_answer_queued(ctx->request, ctx->conf, reply->text, ctx->first,
                                              ctx->records, frame->time_ms));
        }

        ngx_http_sluice_commit_free(commit, frame);
        return;
    }

    if (outcome == NGX_HTTP_SLUICE_NOT_SENT) {
        trouble = NGX_HTTP_SLUICE_REDIS_AWAY;

    } else if (outcome == NGX_HTTP_SLUICE_UNKNOWN
               || reply->type != sluice::ReplyType::kError)
    {
        trouble = NGX_HTTP_SLUICE_OUTCOME_UNKNOWN;

    } else {
        /* an error reply: Redis did not add the frame */
        text = ngx_http_sluice_str(reply->text);
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "Redis refused a frame of %uD records: %V",
                      frame->records, &text);
        trouble = NGX_HTTP_SLUICE_REDIS_REFUSED;
        drop = text.len >= 8 && ngx_strncmp(text.data, "READONLY", 8) == 0;
    }

    ngx_http_sluice_commit_refuse_all(commit, &frame->requests, trouble);
    ngx_http_sluice_commit_free(commit, frame);

    if (drop) {
        /* no longer the master: the address may lead to another one now */
        ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis, "it is read-only");
    }
}


static void
ngx_http_sluice_commit_free(ngx_http_sluice_commit_t *commit, ngx_http_sluice_frame_t *frame)
{
    if (frame->capacity > NGX_HTTP_SLUICE_BUFFER_KEPT) {
        ngx_free(frame->buffer);
        frame->buffer = NULL;
        frame->capacity = 0;
    }

    commit->inflight--;
    ngx_queue_insert_head(&commit->free, &frame->queue);

    if (!commit->flush.posted) {
        ngx_post_event(&commit->flush, &ngx_posted_events);
    }
}


static void
ngx_http_sluice_commit_refuse_all(ngx_http_sluice_commit_t *commit, ngx_queue_t *queue,
    ngx_http_sluice_trouble_e trouble)
{
    ngx_http_sluice_ctx_t  *ctx;

    while (!ngx_queue_empty(queue)) {
        ctx = ngx_http_sluice_commit_first(queue);
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

    if (frame == NULL) {
        return;
    }

    /* answers may bring the next requests, which must not find this frame open */
    commit->open = NULL;
    ngx_http_sluice_commit_refuse_all(commit, &frame->requests, trouble);
    ngx_queue_insert_head(&commit->free, &frame->queue);
}


void
ngx_http_sluice_commit_redis_ready(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_commit_flush(commit);
}


void
ngx_http_sluice_commit_redis_down(ngx_http_sluice_commit_t *commit)
{
    ngx_http_sluice_commit_refuse_open(commit, NGX_HTTP_SLUICE_REDIS_AWAY);
    ngx_http_sluice_commit_refuse_all(commit, &commit->parked, NGX_HTTP_SLUICE_REDIS_AWAY);
}


/*
 * Requests wait in the order in which they came, so only the first of each queue can be the one
 * that waits longest. A reply that is overdue takes the connection with it: replies have no names,
 * so none can be skipped.
 */

static void
ngx_http_sluice_commit_deadline_handler(ngx_event_t *ev)
{
    ngx_http_sluice_ctx_t     *ctx;
    ngx_http_sluice_commit_t  *commit = static_cast<ngx_http_sluice_commit_t *>(ev->data);

    auto overdue = [](ngx_msec_t deadline) {
        return static_cast<ngx_msec_int_t>(ngx_current_msec - deadline) >= 0;
    };

    while (!ngx_queue_empty(&commit->parked)) {
        ctx = ngx_http_sluice_commit_first(&commit->parked);
        if (!overdue(ctx->deadline)) {
            break;
        }
        ngx_http_sluice_commit_leave(commit, ctx);
        ngx_http_sluice_answer_finish(ctx->request,
            ngx_http_sluice_answer_trouble(ctx->request, NGX_HTTP_SLUICE_REDIS_SLOW));
    }

    if (commit->open && commit->open->records && overdue(commit->open->deadline)) {
        ngx_http_sluice_commit_refuse_open(commit, NGX_HTTP_SLUICE_REDIS_SLOW);
    }

    for (ngx_http_sluice_frame_t &frame : commit->frames) {
        if (&frame != commit->open && !ngx_queue_empty(&frame.requests)
            && overdue(frame.deadline))
        {
            ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis, "a reply is overdue");
            break;
        }
    }

    if (commit->requests) {
        ngx_http_sluice_commit_arm_deadline(commit);
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
        earlier(ngx_http_sluice_commit_first(&commit->parked)->deadline);
    }

    for (ngx_http_sluice_frame_t &frame : commit->frames) {
        if (!ngx_queue_empty(&frame.requests)) {
            earlier(frame.deadline);
        }
    }

    delay = static_cast<ngx_msec_int_t>(deadline - ngx_current_msec);
    ngx_add_timer(&commit->deadline, ngx_max(delay, 1));
}


static ngx_http_sluice_ctx_t *
ngx_http_sluice_commit_first(ngx_queue_t *queue)
{
    ngx_queue_t  *q = ngx_queue_head(queue);

    return ngx_queue_data(q, ngx_http_sluice_ctx_t, queue);
}

#include "ngx_http_sluice_flight.hpp"

#include "ngx_http_sluice_breaker.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_errors.hpp"
#include "ngx_http_sluice_log.hpp"


static void ngx_http_sluice_flight_post(ngx_http_sluice_flight_t *flight);
static void ngx_http_sluice_flight_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply);
static void ngx_http_sluice_flight_stored(ngx_http_sluice_flight_t *flight,
    ngx_http_sluice_frame_t *frame, std::string_view entry_id);
static void ngx_http_sluice_flight_refused(ngx_http_sluice_flight_t *flight,
    ngx_http_sluice_frame_t *frame, std::string_view error);
static void ngx_http_sluice_flight_lost(ngx_http_sluice_flight_t *flight,
    ngx_http_sluice_frame_t *frame);


void
ngx_http_sluice_flight_init(ngx_http_sluice_flight_t *flight, ngx_http_sluice_waiting_t *waiting,
    ngx_event_t *flush)
{
    flight->waiting = waiting;
    flight->flush = flush;
    ngx_queue_init(&flight->again);
    ngx_queue_init(&flight->free);

    for (ngx_http_sluice_frame_t &frame : flight->frames) {
        frame.flight = flight;
        frame.command.handler = ngx_http_sluice_flight_reply;
        ngx_queue_init(&frame.requests);
        ngx_queue_insert_tail(&flight->free, &frame.queue);
    }
}


void
ngx_http_sluice_flight_destroy(ngx_http_sluice_flight_t *flight)
{
    for (ngx_http_sluice_frame_t &frame : flight->frames) {
        ngx_http_sluice_frame_release(&frame, 1);
    }
}


ngx_http_sluice_frame_t *
ngx_http_sluice_flight_take(ngx_http_sluice_flight_t *flight)
{
    ngx_queue_t              *q;
    ngx_http_sluice_frame_t  *frame;

    if (ngx_queue_empty(&flight->free)) {
        return NULL;
    }

    q = ngx_queue_head(&flight->free);
    ngx_queue_remove(q);
    frame = ngx_queue_data(q, ngx_http_sluice_frame_t, queue);
    ngx_http_sluice_frame_open(frame);

    return frame;
}


ngx_uint_t
ngx_http_sluice_flight_has_room(const ngx_http_sluice_flight_t *flight)
{
    return flight->sent < NGX_HTTP_SLUICE_FRAMES;
}


void
ngx_http_sluice_flight_send(ngx_http_sluice_flight_t *flight, ngx_http_sluice_frame_t *frame)
{
    frame->sent = 1;
    frame->sent_us = ngx_http_sluice_now_us();
    frame->sent_in = ngx_http_sluice_breaker_era(ngx_http_sluice_worker.breaker);
    frame->command.replies = 1;

    flight->sent++;
    ngx_http_sluice_worker.counters->inflight_frames = flight->sent;

    ngx_http_sluice_redis_send(ngx_http_sluice_worker.redis, &frame->command);
}


void
ngx_http_sluice_flight_send_again(ngx_http_sluice_flight_t *flight)
{
    ngx_queue_t              *q;
    ngx_http_sluice_frame_t  *frame;

    while (!ngx_queue_empty(&flight->again)
           && ngx_http_sluice_redis_ready(ngx_http_sluice_worker.redis))
    {
        q = ngx_queue_head(&flight->again);
        ngx_queue_remove(q);
        frame = ngx_queue_data(q, ngx_http_sluice_frame_t, queue);

        if (ngx_queue_empty(&frame->requests) || ngx_http_sluice_frame_overdue(frame)) {
            ngx_http_sluice_flight_give_up(flight, frame, NGX_HTTP_SLUICE_REDIS_SLOW);
            continue;
        }

        ngx_http_sluice_worker.counters->frames[NGX_HTTP_SLUICE_FRAME_RESENT]++;
        ngx_http_sluice_flight_send(flight, frame);
    }
}


static void
ngx_http_sluice_flight_post(ngx_http_sluice_flight_t *flight)
{
    if (!flight->flush->posted) {
        ngx_post_event(flight->flush, &ngx_posted_events);
    }
}


static void
ngx_http_sluice_flight_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply)
{
    ngx_http_sluice_frame_t     *frame = ngx_queue_data(command, ngx_http_sluice_frame_t, command);
    ngx_http_sluice_flight_t    *flight = frame->flight;
    ngx_http_sluice_counters_t  *counters = ngx_http_sluice_worker.counters;

    frame->sent = 0;
    flight->sent--;
    counters->inflight_frames = flight->sent;

    ngx_http_sluice_flight_post(flight);

    if (outcome != NGX_HTTP_SLUICE_REPLIED) {
        ngx_http_sluice_breaker_lost(ngx_http_sluice_worker.breaker, frame->sent_in);
    }

    if (outcome == NGX_HTTP_SLUICE_NOT_SENT) {
        counters->frames[NGX_HTTP_SLUICE_FRAME_NOT_SENT]++;
        ngx_http_sluice_flight_lost(flight, frame);

    } else if (outcome == NGX_HTTP_SLUICE_UNKNOWN) {
        counters->frames[NGX_HTTP_SLUICE_FRAME_UNKNOWN]++;
        frame->maybe_stored = 1;
        ngx_http_sluice_flight_lost(flight, frame);

    } else if (reply->type == sluice::ReplyType::kBulk && sluice::is_entry_id(reply->text)) {
        ngx_http_sluice_flight_stored(flight, frame, reply->text);

    } else if (reply->type == sluice::ReplyType::kError) {
        ngx_http_sluice_flight_refused(flight, frame, reply->text);

    } else {
        /* not what XADD answers: replies and commands are out of step */
        counters->frames[NGX_HTTP_SLUICE_FRAME_UNKNOWN]++;
        ngx_http_sluice_breaker_lost(ngx_http_sluice_worker.breaker, frame->sent_in);
        ngx_http_sluice_flight_give_up(flight, frame, NGX_HTTP_SLUICE_OUTCOME_UNKNOWN);
        ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis, "not a reply to XADD");
    }
}


static void
ngx_http_sluice_flight_stored(ngx_http_sluice_flight_t *flight, ngx_http_sluice_frame_t *frame,
    std::string_view entry_id)
{
    uint64_t                     us;
    ngx_http_sluice_ctx_t       *ctx;
    ngx_http_sluice_counters_t  *counters = ngx_http_sluice_worker.counters;

    us = ngx_http_sluice_now_us() - frame->sent_us;
    ngx_http_sluice_breaker_stored(ngx_http_sluice_worker.breaker, frame->sent_in, us);

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
        ngx_http_sluice_waiting_leave(flight->waiting, ctx);
        ctx->redis_us = us;
        ngx_http_sluice_answer_finish(ctx->request,
            ngx_http_sluice_answer_queued(ctx, entry_id, frame->time_ms));
    }

    ngx_http_sluice_frame_release(frame, 0);
    ngx_queue_insert_head(&flight->free, &frame->queue);
}


static void
ngx_http_sluice_flight_refused(ngx_http_sluice_flight_t *flight, ngx_http_sluice_frame_t *frame,
    std::string_view error)
{
    ngx_str_t         text = ngx_http_sluice_str(error);
    const ngx_uint_t  kind = ngx_http_sluice_redis_error(error);

    const ngx_http_sluice_error_meaning_t  *meaning = &ngx_http_sluice_error_meanings[kind];

    ngx_http_sluice_worker.counters->frames[NGX_HTTP_SLUICE_FRAME_REFUSED]++;
    ngx_http_sluice_worker.counters->redis_errors[kind]++;
    ngx_http_sluice_breaker_refused(ngx_http_sluice_worker.breaker, frame->sent_in, kind);

    if (ngx_http_sluice_log_allowed(NGX_HTTP_SLUICE_LOG_REFUSED_FRAME)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "Redis refused a frame of %uD records: %V",
                      frame->records, &text);
    }

    ngx_http_sluice_flight_give_up(flight, frame, meaning->trouble);

    if (meaning->drop) {
        ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis,
                                   "it may not be the right one any more");
    }
}


/* There may be another connection in time; redis_down() tells if not. */

static void
ngx_http_sluice_flight_lost(ngx_http_sluice_flight_t *flight, ngx_http_sluice_frame_t *frame)
{
    if (ngx_queue_empty(&frame->requests) || ngx_http_sluice_frame_overdue(frame)) {
        ngx_http_sluice_flight_give_up(flight, frame, NGX_HTTP_SLUICE_REDIS_SLOW);
        return;
    }

    ngx_queue_insert_tail(&flight->again, &frame->queue);
}


/* If it was sent before, and nothing is known of that, no answer may deny that it is stored. */

void
ngx_http_sluice_flight_give_up(ngx_http_sluice_flight_t *flight, ngx_http_sluice_frame_t *frame,
    ngx_http_sluice_trouble_e trouble)
{
    ngx_http_sluice_waiting_refuse(flight->waiting, &frame->requests,
                                   frame->maybe_stored ? NGX_HTTP_SLUICE_OUTCOME_UNKNOWN
                                                       : trouble);

    ngx_http_sluice_frame_release(frame, 0);
    ngx_queue_insert_head(&flight->free, &frame->queue);
    ngx_http_sluice_flight_post(flight);
}


void
ngx_http_sluice_flight_refuse_again(ngx_http_sluice_flight_t *flight,
    ngx_http_sluice_trouble_e trouble, ngx_uint_t all)
{
    ngx_queue_t              *q, *next;
    ngx_http_sluice_frame_t  *frame;

    for (q = ngx_queue_head(&flight->again); q != ngx_queue_sentinel(&flight->again); q = next) {
        next = ngx_queue_next(q);
        frame = ngx_queue_data(q, ngx_http_sluice_frame_t, queue);

        if (all || !frame->maybe_stored) {
            ngx_queue_remove(q);
            ngx_http_sluice_flight_give_up(flight, frame, trouble);
        }
    }
}


void
ngx_http_sluice_flight_refuse_overdue(ngx_http_sluice_flight_t *flight)
{
    ngx_queue_t              *q;
    ngx_http_sluice_frame_t  *frame;

    while (!ngx_queue_empty(&flight->again)) {
        q = ngx_queue_head(&flight->again);
        frame = ngx_queue_data(q, ngx_http_sluice_frame_t, queue);
        if (!ngx_http_sluice_frame_overdue(frame)) {
            break;
        }
        ngx_queue_remove(q);
        ngx_http_sluice_flight_give_up(flight, frame, NGX_HTTP_SLUICE_REDIS_SLOW);
    }
}


void
ngx_http_sluice_flight_look(ngx_http_sluice_flight_t *flight)
{
    ngx_uint_t  overdue = 0;

    for (ngx_http_sluice_frame_t &frame : flight->frames) {
        if (frame.sent) {
            ngx_http_sluice_breaker_waiting(ngx_http_sluice_worker.breaker, frame.sent_in,
                                            frame.sent_us);
            overdue |= ngx_http_sluice_frame_overdue(&frame);
        }
    }

    if (overdue) {
        ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis, "a reply is overdue");
    }
}

#include "ngx_http_sluice_breaker.hpp"

#include "ngx_http_sluice_commit.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_errors.hpp"
#include "ngx_http_sluice_frame.hpp"
#include "ngx_http_sluice_redis.hpp"
#include "ngx_http_sluice_zone.hpp"


#define NGX_HTTP_SLUICE_BREAKER_INTERVAL  250

#define NGX_HTTP_SLUICE_BREAKER_RETRY_MAX  30


struct ngx_http_sluice_breaker_s {
    sluice::Breaker                *shared;
    const sluice::BreakerSettings  *settings;
    ngx_uint_t                      on;
    ngx_msec_t                      timeout;

    ngx_event_t                     timer;
    ngx_msec_t                      interval;
    ngx_uint_t                      stalled;   /* something is on its way for too long */

    ngx_http_sluice_command_t       question;
    ngx_uint_t                      asked;     /* and not answered */
    ngx_msec_t                      asked_at;
    sluice::Breaker::Probe          probe;
};


/* by sluice::BreakerReason */
const char *const  ngx_http_sluice_breaker_reasons[] = {
    "failures",
    "stall",
    "connection",
    "oom",
    "readonly",
    "misconf",
    "refused"
};

static const char *const  ngx_http_sluice_breaker_texts[] = {
    "too many of the last frames failed, or took too long",
    "it has stored nothing for too long",
    "no worker reaches it",
    "it is out of memory",
    "it is read only",
    "it cannot write to its disk",
    "it refuses all writes"
};


static void ngx_http_sluice_breaker_opened(sluice::BreakerReason reason);
static void ngx_http_sluice_breaker_timer_handler(ngx_event_t *ev);
static void ngx_http_sluice_breaker_look(ngx_http_sluice_breaker_t *breaker);
static void ngx_http_sluice_breaker_answer(ngx_http_sluice_command_t *command,
    ngx_uint_t outcome, const sluice::Reply *reply);


static sluice::Breaker::Moment
ngx_http_sluice_breaker_now(void)
{
    return { ngx_current_msec, static_cast<uint32_t>(ngx_random()) };
}


ngx_http_sluice_breaker_t *
ngx_http_sluice_breaker_create(ngx_cycle_t *cycle, ngx_http_sluice_main_conf_t *conf,
    ngx_http_sluice_zone_t *zone)
{
    u_char                     *p;
    ngx_http_sluice_breaker_t  *breaker;

    breaker = static_cast<ngx_http_sluice_breaker_t *>(
        ngx_pcalloc(cycle->pool, sizeof(ngx_http_sluice_breaker_t)));
    p = static_cast<u_char *>(ngx_pnalloc(cycle->pool, conf->stream.len + 64));
    if (breaker == NULL || p == NULL) {
        return NULL;
    }

    breaker->shared = &zone->breaker;
    breaker->settings = &conf->breaker_settings;
    breaker->on = conf->breaker;
    breaker->timeout = conf->timeout;

    breaker->question.start = reinterpret_cast<char *>(p);
    p = ngx_sprintf(p, "*5\r\n$4\r\nXADD\r\n$%uz\r\n%V\r\n$3\r\n0-0\r\n$1\r\nv\r\n$1\r\n0\r\n",
                    conf->stream.len, &conf->stream);
    breaker->question.last = reinterpret_cast<char *>(p);
    breaker->question.handler = ngx_http_sluice_breaker_answer;

    if (!breaker->on) {
        return breaker;
    }

    /* often enough to see a stall before the first deadline */
    breaker->interval = ngx_min(breaker->settings->slow_ms / 8, NGX_HTTP_SLUICE_BREAKER_INTERVAL);
    breaker->interval = ngx_max(breaker->interval, 1);

    /* cancelable: it must not keep a worker that is to leave */
    breaker->timer.handler = ngx_http_sluice_breaker_timer_handler;
    breaker->timer.data = breaker;
    breaker->timer.log = cycle->log;
    breaker->timer.cancelable = 1;
    ngx_add_timer(&breaker->timer, breaker->interval);

    return breaker;
}


void
ngx_http_sluice_breaker_destroy(ngx_http_sluice_breaker_t *breaker)
{
    if (breaker->timer.timer_set) {
        ngx_del_timer(&breaker->timer);
    }
}


ngx_uint_t
ngx_http_sluice_breaker_admits(const ngx_http_sluice_breaker_t *breaker)
{
    return !breaker->on
           || breaker->shared->admits(ngx_http_sluice_breaker_now(),
                  !ngx_http_sluice_commit_waiting(ngx_http_sluice_worker.commit));
}


sluice::BreakerState
ngx_http_sluice_breaker_state(const ngx_http_sluice_breaker_t *breaker)
{
    return breaker->on ? breaker->shared->state(ngx_current_msec) : sluice::BreakerState::kClosed;
}


ngx_uint_t
ngx_http_sluice_breaker_retry_after(const ngx_http_sluice_breaker_t *breaker)
{
    ngx_uint_t  seconds;

    seconds = (breaker->shared->opens_for_ms(ngx_current_msec) + 999) / 1000;
    seconds = ngx_min(ngx_max(seconds, 1), NGX_HTTP_SLUICE_BREAKER_RETRY_MAX);

    return seconds + ngx_random() % (seconds + 1);
}


sluice::Breaker::Era
ngx_http_sluice_breaker_era(const ngx_http_sluice_breaker_t *breaker)
{
    return breaker->shared->era();
}


void
ngx_http_sluice_breaker_stored(ngx_http_sluice_breaker_t *breaker, sluice::Breaker::Era sent_in,
    uint64_t us)
{
    if (us >= static_cast<uint64_t>(breaker->settings->slow_ms) * 1000) {
        breaker->shared->alive(ngx_current_msec);
        ngx_http_sluice_breaker_lost(breaker, sent_in);
        return;
    }

    breaker->shared->stored(sent_in, ngx_current_msec);
}


void
ngx_http_sluice_breaker_lost(ngx_http_sluice_breaker_t *breaker, sluice::Breaker::Era sent_in)
{
    /* a worker that leaves closes its own connection at last */
    if (breaker->on && !ngx_exiting && !ngx_terminate
        && breaker->shared->failed(*breaker->settings, ngx_http_sluice_breaker_now(), sent_in))
    {
        ngx_http_sluice_breaker_opened(sluice::BreakerReason::kFailures);
    }
}


void
ngx_http_sluice_breaker_refused(ngx_http_sluice_breaker_t *breaker, sluice::Breaker::Era sent_in,
    ngx_uint_t error)
{
    const sluice::BreakerReason  reason = ngx_http_sluice_error_meanings[error].reason;

    breaker->shared->alive(ngx_current_msec);

    if (reason == sluice::BreakerReason::kFailures) {
        ngx_http_sluice_breaker_lost(breaker, sent_in);

    } else if (breaker->on
               && breaker->shared->refused(*breaker->settings, ngx_http_sluice_breaker_now(),
                                           sent_in, reason))
    {
        ngx_http_sluice_breaker_opened(reason);
    }
}


void
ngx_http_sluice_breaker_waiting(ngx_http_sluice_breaker_t *breaker, sluice::Breaker::Era sent_in,
    uint64_t sent_us)
{
    const uint64_t  ms = (ngx_http_sluice_now_us() - sent_us) / 1000;

    if (!breaker->on || ms < breaker->settings->slow_ms) {
        return;
    }

    breaker->stalled = 1;

    if (breaker->shared->still_waiting(*breaker->settings, ngx_http_sluice_breaker_now(), sent_in,
                                       ngx_current_msec - ms))
    {
        ngx_http_sluice_breaker_opened(sluice::BreakerReason::kStall);
    }
}


void
ngx_http_sluice_breaker_alive(ngx_http_sluice_breaker_t *breaker)
{
    breaker->shared->alive(ngx_current_msec);
}


void
ngx_http_sluice_breaker_connected(ngx_http_sluice_breaker_t *breaker)
{
    breaker->shared->alive(ngx_current_msec);

    if (breaker->on) {
        ngx_http_sluice_breaker_look(breaker);
    }
}


void
ngx_http_sluice_breaker_not_connected(ngx_http_sluice_breaker_t *breaker)
{
    if (breaker->on
        && breaker->shared->not_connected(*breaker->settings, ngx_http_sluice_breaker_now()))
    {
        ngx_http_sluice_breaker_opened(sluice::BreakerReason::kConnection);
    }
}


static void
ngx_http_sluice_breaker_opened(sluice::BreakerReason reason)
{
    const ngx_uint_t  i = static_cast<ngx_uint_t>(reason);

    ngx_http_sluice_worker.counters->breaker_trips[i]++;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "the breaker opens, POSTs are refused until Redis takes writes again: %s",
                  ngx_http_sluice_breaker_texts[i]);
}


static void
ngx_http_sluice_breaker_timer_handler(ngx_event_t *ev)
{
    ngx_http_sluice_breaker_t  *breaker = static_cast<ngx_http_sluice_breaker_t *>(ev->data);

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    ngx_add_timer(ev, breaker->interval);

    if (breaker->asked && ngx_current_msec - breaker->asked_at > breaker->timeout) {
        ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis, "a reply is overdue");
        return;
    }

    ngx_http_sluice_breaker_look(breaker);
}


static void
ngx_http_sluice_breaker_look(ngx_http_sluice_breaker_t *breaker)
{
    ngx_http_sluice_redis_t  *redis = ngx_http_sluice_worker.redis;

    breaker->stalled = 0;
    ngx_http_sluice_commit_look(ngx_http_sluice_worker.commit);

    /* a worker whose own connection is stuck, or which may leave any moment, would only hold it */
    if (breaker->asked || breaker->stalled || ngx_exiting || !ngx_http_sluice_redis_ready(redis)
        || !breaker->shared->take_probe(*breaker->settings, ngx_current_msec, &breaker->probe))
    {
        return;
    }

    breaker->asked = 1;
    breaker->asked_at = ngx_current_msec;
    breaker->question.replies = 1;
    ngx_http_sluice_redis_send(redis, &breaker->question);
}


static void
ngx_http_sluice_breaker_answer(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply)
{
    ngx_uint_t                  error = NGX_HTTP_SLUICE_ERROR_OTHER;
    ngx_http_sluice_breaker_t  *breaker = ngx_queue_data(command, ngx_http_sluice_breaker_t,
                                                         question);

    breaker->asked = 0;

    if (outcome == NGX_HTTP_SLUICE_REPLIED && reply->type == sluice::ReplyType::kError) {
        error = ngx_http_sluice_redis_error(reply->text);
    }

    if (outcome == NGX_HTTP_SLUICE_REPLIED && error == NGX_HTTP_SLUICE_ERROR_OTHER) {
        /* it has come as far as to look at the id */
        if (breaker->shared->probe_succeeded(breaker->probe, ngx_current_msec)) {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "the breaker closes: Redis takes writes again");
        }
        return;
    }

    breaker->shared->probe_failed(*breaker->settings, ngx_http_sluice_breaker_now(),
                                  breaker->probe);

    if (outcome == NGX_HTTP_SLUICE_REPLIED) {
        ngx_http_sluice_worker.counters->redis_errors[error]++;

        if (ngx_http_sluice_error_meanings[error].drop) {
            ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis,
                                       "it may not be the right one any more");
        }
    }
}

/*
 * The breaker that all workers share (common/breaker.hpp), as this worker sees it: it tells what
 * became of its frames, and while the breaker is open one worker at a time asks Redis.
 *
 * The question is an XADD that can only be refused, for its entry id is 0-0; but before Redis looks
 * at that, it refuses whatever it refuses for a state of its own. So nobody's records are risked on
 * a Redis that may be ill, no client that is slow with its body holds the question up, and an edge
 * to which nobody sends anything, as it says that it is not ready, finds out too.
 */

#ifndef NGX_HTTP_SLUICE_BREAKER_HPP
#define NGX_HTTP_SLUICE_BREAKER_HPP

#include "ngx_http_sluice.hpp"

ngx_http_sluice_breaker_t *ngx_http_sluice_breaker_create(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *conf, ngx_http_sluice_zone_t *zone);
void ngx_http_sluice_breaker_destroy(ngx_http_sluice_breaker_t *breaker);

/* Whether one more request may pass now. */
ngx_uint_t ngx_http_sluice_breaker_admits(const ngx_http_sluice_breaker_t *breaker);

/* Always closed where it is off. */
sluice::BreakerState ngx_http_sluice_breaker_state(const ngx_http_sluice_breaker_t *breaker);

/* In how many seconds to try again: when it may be closed, and spread over as much again. */
ngx_uint_t ngx_http_sluice_breaker_retry_after(const ngx_http_sluice_breaker_t *breaker);

/* To be kept with whatever is sent, and told with its outcome. */
sluice::Breaker::Era ngx_http_sluice_breaker_era(const ngx_http_sluice_breaker_t *breaker);

void ngx_http_sluice_breaker_stored(ngx_http_sluice_breaker_t *breaker,
    sluice::Breaker::Era sent_in, uint64_t us);
void ngx_http_sluice_breaker_lost(ngx_http_sluice_breaker_t *breaker,
    sluice::Breaker::Era sent_in);
/* by an ngx_http_sluice_redis_error_e */
void ngx_http_sluice_breaker_refused(ngx_http_sluice_breaker_t *breaker,
    sluice::Breaker::Era sent_in, ngx_uint_t error);
/* still on its way */
void ngx_http_sluice_breaker_waiting(ngx_http_sluice_breaker_t *breaker,
    sluice::Breaker::Era sent_in, uint64_t sent_us);

/* Redis answered this worker; it has a connection; an attempt to make one failed. */
void ngx_http_sluice_breaker_alive(ngx_http_sluice_breaker_t *breaker);
void ngx_http_sluice_breaker_connected(ngx_http_sluice_breaker_t *breaker);
void ngx_http_sluice_breaker_not_connected(ngx_http_sluice_breaker_t *breaker);

extern const char *const ngx_http_sluice_breaker_reasons[sluice::kBreakerReasons];

#endif

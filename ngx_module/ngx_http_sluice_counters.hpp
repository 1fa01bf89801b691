/*
 * What the edge counts. Each worker has a slot of the zone for itself, so counting is a plain add
 * without a lock; who reads sums over the slots. A slot outlives its worker: the next one that
 * takes it goes on from there, and nothing is lost with a worker, however it ended.
 */

#ifndef NGX_HTTP_SLUICE_COUNTERS_HPP
#define NGX_HTTP_SLUICE_COUNTERS_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_errors.hpp"

#define NGX_HTTP_SLUICE_SLOTS            128

#define NGX_HTTP_SLUICE_RECORDS_BOUNDS   10
#define NGX_HTTP_SLUICE_TIME_BOUNDS      14

enum ngx_http_sluice_frame_outcome_e : ngx_uint_t {
    NGX_HTTP_SLUICE_FRAME_STORED = 0,
    NGX_HTTP_SLUICE_FRAME_REFUSED,
    NGX_HTTP_SLUICE_FRAME_UNKNOWN,
    NGX_HTTP_SLUICE_FRAME_NOT_SENT,
    NGX_HTTP_SLUICE_FRAME_RESENT,
    NGX_HTTP_SLUICE_FRAME_OUTCOMES
};

enum ngx_http_sluice_endpoint_e : ngx_uint_t {
    NGX_HTTP_SLUICE_LOGS = 0,
    NGX_HTTP_SLUICE_STATS,
    NGX_HTTP_SLUICE_HITS,
    NGX_HTTP_SLUICE_ENDPOINTS
};

/* NGX_HTTP_CACHE_MISS is 1, and the last: */
#define NGX_HTTP_SLUICE_CACHE_STATUSES   NGX_HTTP_CACHE_SCARCE

struct ngx_http_sluice_counters_s {
    ngx_atomic_t owner;          /* pid; 0 = free */

    ngx_atomic_t answers[NGX_HTTP_SLUICE_CODES];
    ngx_atomic_t abandoned;      /* requests whose client went away while they waited */
    ngx_atomic_t records;        /* answered with 200 */
    ngx_atomic_t bad_records[sluice::kRefusalCount];
    ngx_atomic_t shed_records[sluice::kLevelCount];  /* of batches, by their highest level */
    ngx_atomic_t body_bytes;
    ngx_atomic_t compressed_bytes;
    ngx_atomic_t inflated_bytes;
    ngx_atomic_t nuls_replaced;
    ngx_atomic_t unknown_fields;

    ngx_atomic_t frames[NGX_HTTP_SLUICE_FRAME_OUTCOMES];
    ngx_atomic_t row_bytes;
    ngx_atomic_t frame_records[NGX_HTTP_SLUICE_RECORDS_BOUNDS + 1];
    ngx_atomic_t frame_records_sum;
    ngx_atomic_t redis_time[NGX_HTTP_SLUICE_TIME_BOUNDS + 1];
    ngx_atomic_t redis_time_sum; /* us */

    ngx_atomic_t redis_errors[NGX_HTTP_SLUICE_ERRORS];
    ngx_atomic_t redis_connects;
    ngx_atomic_t redis_connect_failures;
    ngx_atomic_t redis_losses;
    ngx_atomic_t breaker_trips[sluice::kBreakerReasons];

    ngx_atomic_t queries[NGX_HTTP_SLUICE_ENDPOINTS][NGX_HTTP_SLUICE_CACHE_STATUSES];

    /* set, not added to: what is so now */
    ngx_atomic_t inflight_requests;
    ngx_atomic_t inflight_bytes;
    ngx_atomic_t inflight_frames;
};

extern const uint64_t ngx_http_sluice_records_bounds[NGX_HTTP_SLUICE_RECORDS_BOUNDS];
extern const uint64_t ngx_http_sluice_time_bounds[NGX_HTTP_SLUICE_TIME_BOUNDS]; /* us */

/*
 * This worker's slot. There are enough for 64 workers, as a reload has two generations of them;
 * should there be more, the late ones share the last slot and may lose a count.
 */
ngx_http_sluice_counters_t *ngx_http_sluice_counters_take(ngx_http_sluice_zone_t *zone);
void ngx_http_sluice_counters_leave(ngx_http_sluice_counters_t *counters);

/* A worker that was killed still stands as the owner of its slot, until another takes it. */
ngx_uint_t ngx_http_sluice_counters_owner_lives(ngx_atomic_uint_t owner);

ngx_uint_t ngx_http_sluice_bucket(const uint64_t *bounds, ngx_uint_t n, uint64_t value);

#endif

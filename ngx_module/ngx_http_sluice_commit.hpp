/*
 * Group commit: requests become rows in the worker's open frame; at the end of a turn of the event
 * loop the frame leaves as one XADD, if fewer than a few are in flight; else it goes on filling.
 * Under load frames grow by themselves, and when idle a record leaves at once.
 */

#ifndef NGX_HTTP_SLUICE_COMMIT_HPP
#define NGX_HTTP_SLUICE_COMMIT_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_answer.hpp"

ngx_http_sluice_commit_t *ngx_http_sluice_commit_create(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *conf);
void ngx_http_sluice_commit_destroy(ngx_http_sluice_commit_t *commit);

/*
 * What stands in the way of any request now; NGX_HTTP_SLUICE_TROUBLES: nothing. Submitting looks at
 * it again: this is for who would have to work for a body first.
 */
ngx_http_sluice_trouble_e ngx_http_sluice_commit_trouble(ngx_http_sluice_commit_t *commit);

/* Whether sluice_max_inflight leaves no room for another request, of whatever size. */
ngx_uint_t ngx_http_sluice_commit_full(const ngx_http_sluice_commit_t *commit);

/*
 * Memory of a request that is not submitted yet is held to sluice_max_inflight with that of the
 * others. Reserving returns 0 where there is no room.
 */
ngx_uint_t ngx_http_sluice_commit_reserve(ngx_http_sluice_commit_t *commit, size_t bytes);
void ngx_http_sluice_commit_release(ngx_http_sluice_commit_t *commit, size_t bytes);

/*
 * Takes over a request whose body has been read. NGX_DONE: it waits, and will be answered from
 * here; else the value with which to finalize it, the answer being sent.
 */
ngx_int_t ngx_http_sluice_commit_submit(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_ctx_t *ctx);

/* It waits no more, for it was held long enough. */
void ngx_http_sluice_commit_leave(ngx_http_sluice_commit_t *commit, ngx_http_sluice_ctx_t *ctx);

/* The client is gone: its records may still be stored, but nobody waits for them. */
void ngx_http_sluice_commit_abandon(ngx_http_sluice_commit_t *commit,
    ngx_http_sluice_ctx_t *ctx);

/*
 * To be called now and then: clients that are less patient than sluice_timeout must not leave a
 * connection behind whose reply is overdue.
 */
void ngx_http_sluice_commit_look(ngx_http_sluice_commit_t *commit);

/* Whether a request waits for Redis. */
ngx_uint_t ngx_http_sluice_commit_waiting(ngx_http_sluice_commit_t *commit);

/* The state of Redis has changed: there may be something to send, or nobody to send it to. */
void ngx_http_sluice_commit_redis_ready(ngx_http_sluice_commit_t *commit);
void ngx_http_sluice_commit_redis_down(ngx_http_sluice_commit_t *commit);

#endif

/*
 * The requests of this worker that wait for Redis, whatever queue they stand in: how many, how many
 * bytes they hold, and the timer for the one that waits longest.
 */

#ifndef NGX_HTTP_SLUICE_WAITING_HPP
#define NGX_HTTP_SLUICE_WAITING_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_answer.hpp"

typedef struct {
    ngx_event_t overdue;     /* runs while somebody waits; its handler is the owner's */
    ngx_msec_t timeout;
    ngx_uint_t requests;
    size_t bytes;            /* that they hold, and what is reserved */
} ngx_http_sluice_waiting_t;

/* Of its body, and of its rows once it was held. */
static inline size_t
ngx_http_sluice_waiting_bytes(const ngx_http_sluice_ctx_t *ctx)
{
    return ctx->body.size() + ctx->held_rows.size();
}

void ngx_http_sluice_waiting_enter(ngx_http_sluice_waiting_t *waiting, ngx_queue_t *queue,
    ngx_http_sluice_ctx_t *ctx);
void ngx_http_sluice_waiting_leave(ngx_http_sluice_waiting_t *waiting,
    ngx_http_sluice_ctx_t *ctx);

/* Bytes of a request that stands in no queue yet; 0: there would be more than bytes_max. */
ngx_uint_t ngx_http_sluice_waiting_reserve(ngx_http_sluice_waiting_t *waiting, size_t bytes,
    size_t bytes_max);
void ngx_http_sluice_waiting_release(ngx_http_sluice_waiting_t *waiting, size_t bytes);

/* Answers all that stand in a queue. */
void ngx_http_sluice_waiting_refuse(ngx_http_sluice_waiting_t *waiting, ngx_queue_t *queue,
    ngx_http_sluice_trouble_e trouble);

/* The first request of a queue that is not empty. */
ngx_http_sluice_ctx_t *ngx_http_sluice_first(const ngx_queue_t *queue);

ngx_uint_t ngx_http_sluice_is_past(ngx_msec_t deadline);

#endif

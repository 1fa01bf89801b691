/*
 * Requests that a limit lets pass, but only in a while: they are held with their rows, count as
 * waiting, and then pass the earlier gates again.
 */

#ifndef NGX_HTTP_SLUICE_HOLD_HPP
#define NGX_HTTP_SLUICE_HOLD_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_waiting.hpp"

/*
 * Holds a request for ctx->hold_ms, with a copy of ctx->held_rows; the queue is that of all who are
 * held.
 */
ngx_int_t ngx_http_sluice_hold(ngx_http_sluice_waiting_t *waiting, ngx_queue_t *queue,
    ngx_http_sluice_ctx_t *ctx);

/* Its client is gone. */
void ngx_http_sluice_hold_drop(ngx_http_sluice_ctx_t *ctx);

#endif

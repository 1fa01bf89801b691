/*
 * Compressed bodies become what they were, in steps: in a turn of the event loop a worker inflates
 * for a millisecond at most, and whoever is not done by then goes on in the next turn, one step
 * after the other, so that no body holds up the rest. What they take of memory counts towards
 * sluice_max_inflight.
 */

#ifndef NGX_HTTP_SLUICE_INFLATE_HPP
#define NGX_HTTP_SLUICE_INFLATE_HPP

#include "ngx_http_sluice.hpp"

ngx_http_sluice_inflate_t *ngx_http_sluice_inflate_create(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *conf);

/*
 * Takes over a request whose body is compressed, and has it submitted once it is not any more.
 * NGX_DONE: it waits, and will be answered later; else the value with which to finalize it, the
 * answer being sent.
 */
ngx_int_t ngx_http_sluice_inflate_body(ngx_http_sluice_inflate_t *inflate,
    ngx_http_sluice_ctx_t *ctx);

/* The request ends, whatever became of it: gives back what it holds. */
void ngx_http_sluice_inflate_drop(ngx_http_sluice_inflate_t *inflate,
    ngx_http_sluice_ctx_t *ctx);

#endif

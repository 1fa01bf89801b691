/*
 * A request's body becomes rows, and those pass the gates: all of them, or in partial mode each by
 * itself.
 */

#ifndef NGX_HTTP_SLUICE_ROWS_HPP
#define NGX_HTTP_SLUICE_ROWS_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_answer.hpp"

/* Good records that a gate left out, in partial mode: their client may send them again. */
struct ngx_http_sluice_withheld_s {
    ngx_http_sluice_trouble_e trouble;  /* of the first that may be sent again, if there is one */
    const ngx_http_sluice_limit_t *limited_by;
    uint64_t limit_remaining;           /* of that limit, as it was then */
    ngx_uint_t retry_after;             /* of whom must wait longest */
    ngx_uint_t count;
    ngx_array_t ranges;                 /* of ngx_http_sluice_range_t, in their order */
    ngx_uint_t no_memory;
};

typedef struct {
    uint32_t first;
    uint32_t last;
} ngx_http_sluice_range_t;

/* So much room is needed where the rows of a request are written. */
size_t ngx_http_sluice_rows_room(const ngx_http_sluice_ctx_t *ctx);

/*
 * Writes the rows of a request, ctx->records of them; ctx->hold_ms may say that it must be held
 * first. NGX_DONE: they are written; else the value with which to finalize the request, the answer
 * being sent.
 */
ngx_int_t ngx_http_sluice_rows_write(sluice::JsonRows *json, ngx_http_sluice_ctx_t *ctx, char *rows,
    size_t *size);

#endif

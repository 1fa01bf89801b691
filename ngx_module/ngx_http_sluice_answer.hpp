/*
 * What clients are told: 200 for what Redis confirmed, and problem documents (RFC 9457) for the
 * rest. Every function but the last sends an answer and returns what to finalize the request with.
 */

#ifndef NGX_HTTP_SLUICE_ANSWER_HPP
#define NGX_HTTP_SLUICE_ANSWER_HPP

#include "ngx_http_sluice.hpp"

/* Troubles that are not in the records. */
enum ngx_http_sluice_trouble_e : ngx_uint_t {
    NGX_HTTP_SLUICE_WRONG_METHOD = 0,
    NGX_HTTP_SLUICE_WRONG_TYPE,
    NGX_HTTP_SLUICE_WRONG_ENCODING,
    NGX_HTTP_SLUICE_BAD_KEY,
    NGX_HTTP_SLUICE_EARLY_DATA,
    NGX_HTTP_SLUICE_BODY_TOO_LARGE,
    NGX_HTTP_SLUICE_BAD_COMPRESSION,
    NGX_HTTP_SLUICE_INFLATED_TOO_LARGE,
    NGX_HTTP_SLUICE_BREAKER_OPEN,
    NGX_HTTP_SLUICE_REDIS_AWAY,
    NGX_HTTP_SLUICE_REDIS_SLOW,
    NGX_HTTP_SLUICE_REDIS_REFUSED,
    NGX_HTTP_SLUICE_REDIS_FULL,
    NGX_HTTP_SLUICE_OUTCOME_UNKNOWN,
    NGX_HTTP_SLUICE_NOT_DURABLE,
    NGX_HTTP_SLUICE_TOO_MANY_INFLIGHT,
    NGX_HTTP_SLUICE_OVERLOADED,
    NGX_HTTP_SLUICE_SHED,
    NGX_HTTP_SLUICE_RATE_LIMITED,
    NGX_HTTP_SLUICE_LIMIT_FULL,
    NGX_HTTP_SLUICE_LARGER_THAN_LIMIT,
    NGX_HTTP_SLUICE_NO_MEMORY,
    NGX_HTTP_SLUICE_TROUBLES
};

/* A code for everything a request can come to: queued, then the troubles, then the refusals. */
#define NGX_HTTP_SLUICE_CODE_QUEUED  0
#define NGX_HTTP_SLUICE_CODES        (NGX_HTTP_SLUICE_TROUBLES + sluice::kRefusalCount)

const char *ngx_http_sluice_code_name(ngx_uint_t code);

/* "queued", "refused", "limited", "shed", "unavailable", "unknown" or "abandoned" */
ngx_str_t ngx_http_sluice_code_status(const ngx_http_sluice_ctx_t *ctx);

ngx_int_t ngx_http_sluice_answer_trouble(ngx_http_request_t *r,
    ngx_http_sluice_trouble_e trouble);

/* The same with a detail that says more of this request than the trouble's own. */
ngx_int_t ngx_http_sluice_answer_trouble_detail(ngx_http_request_t *r,
    ngx_http_sluice_trouble_e trouble, std::string_view detail);

ngx_int_t ngx_http_sluice_answer_refusal(ngx_http_sluice_ctx_t *ctx,
    const sluice::BodyRows &rows);

/* In partial mode, what the 200 will say of the records that were left out. */
ngx_int_t ngx_http_sluice_answer_keep_rejected(ngx_http_sluice_ctx_t *ctx,
    const sluice::BodyRows &rows);

/* its records are in the frame that Redis stored as entry_id */
ngx_int_t ngx_http_sluice_answer_queued(ngx_http_sluice_ctx_t *ctx, std::string_view entry_id,
    int64_t time_ms);

/* Sends b, whose text is of the given type. */
ngx_int_t ngx_http_sluice_answer_send(ngx_http_request_t *r, ngx_uint_t status, ngx_str_t type,
    ngx_buf_t *b);

/* Ends a request from an event that is not its own. */
void ngx_http_sluice_answer_finish(ngx_http_request_t *r, ngx_int_t rc);

#endif

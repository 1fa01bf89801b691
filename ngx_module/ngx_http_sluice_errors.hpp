/*
 * Errors that Redis answers: their kinds, by which they are counted, and what each means for the
 * requests of the frame and for the connection.
 */

#ifndef NGX_HTTP_SLUICE_ERRORS_HPP
#define NGX_HTTP_SLUICE_ERRORS_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_answer.hpp"

/* By the first word of the error; the last is for all others. */
enum ngx_http_sluice_redis_error_e : ngx_uint_t {
    NGX_HTTP_SLUICE_ERROR_OOM = 0,
    NGX_HTTP_SLUICE_ERROR_READONLY,
    NGX_HTTP_SLUICE_ERROR_LOADING,
    NGX_HTTP_SLUICE_ERROR_MISCONF,
    NGX_HTTP_SLUICE_ERROR_NOAUTH,
    NGX_HTTP_SLUICE_ERROR_WRONGPASS,
    NGX_HTTP_SLUICE_ERROR_NOPERM,
    NGX_HTTP_SLUICE_ERROR_WRONGTYPE,
    NGX_HTTP_SLUICE_ERROR_MASTERDOWN,
    NGX_HTTP_SLUICE_ERROR_NOREPLICAS,
    NGX_HTTP_SLUICE_ERROR_BUSY,
    NGX_HTTP_SLUICE_ERROR_CLUSTER,
    NGX_HTTP_SLUICE_ERROR_OTHER,
    NGX_HTTP_SLUICE_ERRORS
};

typedef struct {
    ngx_http_sluice_trouble_e trouble;
    ngx_uint_t drop;  /* the address may lead to a better one now */
    /* kFailures: the next frame may fare better; else it opens the breaker at once */
    sluice::BreakerReason reason;
} ngx_http_sluice_error_meaning_t;

/* by ngx_http_sluice_redis_error_e */
extern const ngx_str_t ngx_http_sluice_redis_error_names[NGX_HTTP_SLUICE_ERRORS];
extern const ngx_http_sluice_error_meaning_t
    ngx_http_sluice_error_meanings[NGX_HTTP_SLUICE_ERRORS];

/* The kind of an error, by its first word. */
ngx_uint_t ngx_http_sluice_redis_error(std::string_view text);

#endif

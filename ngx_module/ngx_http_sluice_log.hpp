/*
 * Error-log lines that a fault would otherwise repeat thousands of times a second: a few a second
 * of each kind are written, and the next one after a pause says how many were not.
 */

#ifndef NGX_HTTP_SLUICE_LOG_HPP
#define NGX_HTTP_SLUICE_LOG_HPP

#include "ngx_http_sluice.hpp"

enum ngx_http_sluice_log_kind_e : ngx_uint_t {
    NGX_HTTP_SLUICE_LOG_REFUSED_FRAME = 0,
    NGX_HTTP_SLUICE_LOG_PROBE,
    NGX_HTTP_SLUICE_LOG_LOST,
    NGX_HTTP_SLUICE_LOG_GLOBAL,
    NGX_HTTP_SLUICE_LOG_KINDS
};

/* Whether to write a line of this kind now. */
ngx_uint_t ngx_http_sluice_log_allowed(ngx_http_sluice_log_kind_e kind);

#endif

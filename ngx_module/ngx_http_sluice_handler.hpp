#ifndef NGX_HTTP_SLUICE_HANDLER_HPP
#define NGX_HTTP_SLUICE_HANDLER_HPP

#include "ngx_http_sluice.hpp"

ngx_int_t ngx_http_sluice_handler(ngx_http_request_t *r);

/*
 * The body is there, and is not compressed any more. NGX_DONE: the request waits, and will be
 * answered later; else the value with which to finalize it, the answer being sent.
 */
ngx_int_t ngx_http_sluice_submit(ngx_http_sluice_ctx_t *ctx);

#endif

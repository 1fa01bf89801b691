/*
 * What a request's header says of its body, and all that can be refused before the body is there.
 */

#ifndef NGX_HTTP_SLUICE_HEADER_HPP
#define NGX_HTTP_SLUICE_HEADER_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_answer.hpp"

/*
 * Sets what the context has of the header. NGX_HTTP_SLUICE_TROUBLES: nothing stands against reading
 * the body; else what does, and detail if there is more to say than the trouble's own.
 */
ngx_http_sluice_trouble_e ngx_http_sluice_header_read(ngx_http_sluice_ctx_t *ctx,
    std::string_view *detail);

/* NGX_DECLINED: there is no Idempotency-Key. NGX_ERROR: it is no key, or there is more than one. */
ngx_int_t ngx_http_sluice_header_key(ngx_http_request_t *r, ngx_str_t *key);

#endif

/*
 * The id of the frame of a request with an Idempotency-Key: a hash of principal, key and body.
 *
 * The same key with the same body, sent again by the same principal, is the same frame; with
 * another body it is another one, so that nothing is swallowed, and nobody can claim the keys of
 * others. The body counts as what it inflates to: a retry may be compressed otherwise, or not.
 */

#ifndef NGX_HTTP_SLUICE_KEY_HPP
#define NGX_HTTP_SLUICE_KEY_HPP

#include "ngx_http_sluice.hpp"

/* The body may come in pieces. Of a request without a key these do nothing. */
ngx_int_t ngx_http_sluice_key_begin(ngx_http_sluice_ctx_t *ctx);
ngx_int_t ngx_http_sluice_key_add(ngx_http_sluice_ctx_t *ctx, std::string_view piece);
ngx_int_t ngx_http_sluice_key_end(ngx_http_sluice_ctx_t *ctx);

/* Forgets a hash that was begun and will not come to its end. */
void ngx_http_sluice_key_drop(ngx_http_sluice_ctx_t *ctx);

#endif

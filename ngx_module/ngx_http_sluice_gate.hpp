/*
 * The gates, in their order: what a request must pass before its body is read, and its records
 * before they enter a frame. Each gate has a file of its own; here is who comes first.
 */

#ifndef NGX_HTTP_SLUICE_GATE_HPP
#define NGX_HTTP_SLUICE_GATE_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_answer.hpp"

/* Before the body. NGX_HTTP_SLUICE_TROUBLES: it may pass; else what stands against it. */
ngx_http_sluice_trouble_e ngx_http_sluice_gate_request(ngx_http_sluice_ctx_t *ctx);

/* Behind the body, which may have taken its time: whether Redis is still to be asked. */
ngx_http_sluice_trouble_e ngx_http_sluice_gate_body(ngx_http_sluice_ctx_t *ctx);

/* For rows of that level, or, being all or nothing, of that level at most. */
ngx_http_sluice_trouble_e ngx_http_sluice_gate_records(ngx_http_sluice_ctx_t *ctx,
    sluice::Level level, std::string_view rows, ngx_uint_t records);

/* Once a limit has held it: all but the limits again. Its records pass together or not at all. */
ngx_http_sluice_trouble_e ngx_http_sluice_gate_held(ngx_http_sluice_ctx_t *ctx);

/* What the request was charged is given back: its records are certainly not stored. */
void ngx_http_sluice_gate_give_back(ngx_http_sluice_ctx_t *ctx);

#endif

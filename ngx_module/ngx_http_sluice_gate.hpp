/*
 * The gates, in their order: what a request must pass before its body is read, and its records
 * before they enter a frame. Each gate is a file of its own; here is who comes first, and what is
 * remembered for the answer.
 */

#ifndef NGX_HTTP_SLUICE_GATE_HPP
#define NGX_HTTP_SLUICE_GATE_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_answer.hpp"

/*
 * Before the body, and again for a request that was held back. NGX_HTTP_SLUICE_TROUBLES: it may
 * pass; else what stands against it.
 */
ngx_http_sluice_trouble_e ngx_http_sluice_gate_request(ngx_http_sluice_ctx_t *ctx);

#endif

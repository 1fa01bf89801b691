#include "ngx_http_sluice_gate.hpp"

#include "ngx_http_sluice_commit.hpp"


ngx_http_sluice_trouble_e
ngx_http_sluice_gate_request(ngx_http_sluice_ctx_t *ctx)
{
    /* the breaker */

    if (ngx_http_sluice_commit_full(ngx_http_sluice_worker.commit)) {
        return NGX_HTTP_SLUICE_TOO_MANY_INFLIGHT;
    }

    /* everything is shed */

    return NGX_HTTP_SLUICE_TROUBLES;
}

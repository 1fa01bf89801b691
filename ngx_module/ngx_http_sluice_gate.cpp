#include "ngx_http_sluice_gate.hpp"

#include "ngx_http_sluice_breaker.hpp"
#include "ngx_http_sluice_commit.hpp"
#include "ngx_http_sluice_frame.hpp"
#include "ngx_http_sluice_limit.hpp"
#include "ngx_http_sluice_shed.hpp"


static ngx_http_sluice_trouble_e ngx_http_sluice_gate_redis(ngx_http_sluice_ctx_t *ctx,
    ngx_uint_t admitted);


ngx_http_sluice_trouble_e
ngx_http_sluice_gate_request(ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_sluice_trouble_e  trouble;

    trouble = ngx_http_sluice_gate_redis(ctx,
                  ngx_http_sluice_breaker_admits(ngx_http_sluice_worker.breaker));

    if (trouble != NGX_HTTP_SLUICE_TROUBLES) {
        return trouble;
    }

    if (ngx_http_sluice_commit_full(ngx_http_sluice_worker.commit)) {
        return NGX_HTTP_SLUICE_TOO_MANY_INFLIGHT;
    }

    if (ngx_http_sluice_shed_all(ctx)) {
        return NGX_HTTP_SLUICE_OVERLOADED;
    }

    return NGX_HTTP_SLUICE_TROUBLES;
}


ngx_http_sluice_trouble_e
ngx_http_sluice_gate_records(ngx_http_sluice_ctx_t *ctx, sluice::Level level,
    std::string_view rows, ngx_uint_t records)
{
    if (ngx_http_sluice_shed_records(ctx, level, records)) {
        return NGX_HTTP_SLUICE_SHED;
    }

    return ngx_http_sluice_limit_charge(ctx, rows, records);
}


ngx_http_sluice_trouble_e
ngx_http_sluice_gate_body(ngx_http_sluice_ctx_t *ctx)
{
    /* having closed it lets a share pass, of which this one is already */
    return ngx_http_sluice_gate_redis(ctx,
               ngx_http_sluice_breaker_state(ngx_http_sluice_worker.breaker)
               == sluice::BreakerState::kClosed);
}


/* A worker without a connection can say what is wrong; else a breaker that says no knows best. */

static ngx_http_sluice_trouble_e
ngx_http_sluice_gate_redis(ngx_http_sluice_ctx_t *ctx, ngx_uint_t admitted)
{
    const ngx_http_sluice_trouble_e  trouble =
        ngx_http_sluice_commit_trouble(ngx_http_sluice_worker.commit);

    if (trouble == NGX_HTTP_SLUICE_REDIS_AWAY || admitted) {
        return trouble;
    }

    ctx->retry_after = ngx_http_sluice_breaker_retry_after(ngx_http_sluice_worker.breaker);

    return NGX_HTTP_SLUICE_BREAKER_OPEN;
}


ngx_http_sluice_trouble_e
ngx_http_sluice_gate_held(ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_sluice_trouble_e  trouble = ngx_http_sluice_gate_request(ctx);

    if (trouble == NGX_HTTP_SLUICE_TROUBLES
        && ngx_http_sluice_shed_records(ctx, ctx->level, ctx->records))
    {
        return NGX_HTTP_SLUICE_SHED;
    }

    return trouble;
}


void
ngx_http_sluice_gate_give_back(ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_sluice_limit_give_back(ctx, ctx->frame ? ngx_http_sluice_frame_rows(ctx)
                                                    : ctx->held_rows, ctx->records);
}

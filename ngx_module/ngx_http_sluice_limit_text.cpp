/*
 * What is told of limits: names and codes, the headers of an answer, and its detail.
 */

#include "ngx_http_sluice_limit.hpp"

#include "ngx_http_sluice_global.hpp"
#include "ngx_http_sluice_rows.hpp"


const ngx_str_t  ngx_http_sluice_limit_verdict_names[NGX_HTTP_SLUICE_LIMIT_VERDICTS] = {
    ngx_null_string,
    ngx_string("PASSED"),
    ngx_string("DELAYED_DRY_RUN"),
    ngx_string("REJECTED_DRY_RUN"),
    ngx_string("DELAYED"),
    ngx_string("REJECTED")
};


const ngx_http_sluice_trouble_e
ngx_http_sluice_limit_reasons[NGX_HTTP_SLUICE_LIMIT_REASONS] = {
    NGX_HTTP_SLUICE_RATE_LIMITED,
    NGX_HTTP_SLUICE_LIMIT_FULL,
    NGX_HTTP_SLUICE_LARGER_THAN_LIMIT
};


std::string_view
ngx_http_sluice_limit_name(const ngx_http_sluice_limit_t *limit)
{
    return limit ? ngx_http_sluice_view(ngx_http_sluice_limit_zone(limit)->name)
                 : std::string_view();
}


ngx_int_t
ngx_http_sluice_limit_headers(const ngx_http_sluice_ctx_t *ctx, ngx_str_t *policy,
    ngx_str_t *state)
{
    u_char                              *p;
    size_t                               size = 0;
    const ngx_http_sluice_limit_t       *limit;
    const ngx_http_sluice_limit_zone_t  *zone;

    limit = static_cast<ngx_http_sluice_limit_t *>(ctx->conf->limits->elts);

    for (ngx_uint_t i = 0; i < ctx->conf->limits->nelts; i++) {
        size += ngx_http_sluice_limit_zone(&limit[i])->name.len + 2 * NGX_INT64_LEN
                + sizeof(", \"\";q=;w=;qu=\"content-bytes\"");
    }

    p = static_cast<u_char *>(ngx_pnalloc(ctx->request->pool, 2 * size));
    if (p == NULL) {
        return NGX_ERROR;
    }

    policy->data = p;

    for (ngx_uint_t i = 0; i < ctx->conf->limits->nelts; i++) {
        zone = ngx_http_sluice_limit_zone(&limit[i]);

        if (!limit[i].dry_run) {
            p = ngx_sprintf(p, "%s\"%V\";q=%uL;w=%uL;qu=\"%s\"",
                            p == policy->data ? "" : ", ", &zone->name, limit[i].burst,
                            (limit[i].gcra.burst_ns() + 999999999) / 1000000000,
                            zone->bytes ? "content-bytes" : "records");
        }
    }

    policy->len = p - policy->data;

    zone = ngx_http_sluice_limit_zone(ctx->limited_by);

    state->data = p;
    p = ngx_sprintf(p, "\"%V\";r=%uL", &zone->name, ctx->limit_remaining);
    if (ctx->retry_after) {
        p = ngx_sprintf(p, ";t=%ui", ctx->retry_after);
    }
    state->len = p - state->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_sluice_limit_detail(const ngx_http_sluice_ctx_t *ctx, ngx_http_sluice_trouble_e trouble,
    ngx_str_t *detail)
{
    u_char                              *p;
    uint64_t                             largest;
    const char                          *units;
    const ngx_http_sluice_limit_t       *limit = ctx->limited_by;
    const ngx_http_sluice_limit_zone_t  *zone = ngx_http_sluice_limit_zone(limit);

    units = zone->bytes ? "bytes" : "records";

    p = static_cast<u_char *>(ngx_pnalloc(ctx->request->pool,
                                          512 + zone->name.len + ctx->limit_device.size()));
    if (p == NULL) {
        return NGX_ERROR;
    }

    detail->data = p;

    p = ngx_sprintf(p, "limit %V: %uL %s/%s%s, burst %uL", &zone->name, zone->rate, units,
                    zone->period_ns == 1000000000 ? "s" : "m",
                    zone->by_device ? " of a device" : "", limit->burst);

    if (trouble == NGX_HTTP_SLUICE_LIMIT_FULL) {
        p = ngx_sprintf(p, "; too many others are counted there now");

    } else if (ctx->withheld) {
        p = ngx_sprintf(p, "; none of these %ui records fits, %uL %s remain", ctx->withheld->count,
                        ctx->limit_remaining, units);

    } else {
        p = ngx_sprintf(p, "; this request has %uL %s", ctx->limit_asked, units);

        if (!ctx->limit_device.empty()) {
            p = ngx_cpymem(p, " of ", 4);
            for (size_t i = 0; i < ctx->limit_device.size(); i++) {
                /* in a row a backslash stands twice */
                i += ctx->limit_device[i] == '\\';
                *p++ = ctx->limit_device[i];
            }
        }

        largest = zone->global
                  ? sluice::GlobalLimit::largest(limit->gcra, ngx_http_sluice_global_edges())
                  : limit->gcra.largest();

        if (trouble != NGX_HTTP_SLUICE_LARGER_THAN_LIMIT && ctx->limit_asked > largest) {
            p = ngx_sprintf(p, ", more than the %uL that pass at once while others share it",
                            largest);

        } else if (trouble != NGX_HTTP_SLUICE_LARGER_THAN_LIMIT) {
            p = ngx_sprintf(p, ", %uL remain", ctx->limit_remaining);
        }
    }

    if (trouble == NGX_HTTP_SLUICE_LARGER_THAN_LIMIT) {
        p = ngx_sprintf(p, "; more than %uL at once can never pass, send less in one request",
                        limit->gcra.largest());

    } else if (ctx->retry_after) {
        p = ngx_sprintf(p, "; nothing was stored, send again in %ui s", ctx->retry_after);

    } else {
        p = ngx_sprintf(p, "; nothing was stored, send again later");
    }

    detail->len = p - detail->data;

    return NGX_OK;
}

/*
 * What a request came to, for log_format: $sluice_status, $sluice_records, $sluice_message_id,
 * $sluice_reject_reason and $sluice_redis_time.
 */

#include "ngx_http_sluice_variables.hpp"

#include "ngx_http_sluice_answer.hpp"


enum ngx_http_sluice_variable_e : uintptr_t {
    NGX_HTTP_SLUICE_VAR_STATUS = 0,
    NGX_HTTP_SLUICE_VAR_RECORDS,
    NGX_HTTP_SLUICE_VAR_MESSAGE_ID,
    NGX_HTTP_SLUICE_VAR_REJECT_REASON,
    NGX_HTTP_SLUICE_VAR_REDIS_TIME
};


static ngx_int_t ngx_http_sluice_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data);


static const struct {
    ngx_str_t  name;
    uintptr_t  data;
} ngx_http_sluice_variables[] = {
    { ngx_string("sluice_status"), NGX_HTTP_SLUICE_VAR_STATUS },
    { ngx_string("sluice_records"), NGX_HTTP_SLUICE_VAR_RECORDS },
    { ngx_string("sluice_message_id"), NGX_HTTP_SLUICE_VAR_MESSAGE_ID },
    { ngx_string("sluice_reject_reason"), NGX_HTTP_SLUICE_VAR_REJECT_REASON },
    { ngx_string("sluice_redis_time"), NGX_HTTP_SLUICE_VAR_REDIS_TIME }
};


ngx_int_t
ngx_http_sluice_add_variables(ngx_conf_t *cf)
{
    ngx_str_t             name;
    ngx_http_variable_t  *var;

    for (const auto &entry : ngx_http_sluice_variables) {
        name = entry.name;

        var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_http_sluice_variable;
        var->data = entry.data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                 *p;
    ngx_str_t               value = ngx_null_string;
    ngx_http_sluice_ctx_t  *ctx;

    ctx = static_cast<ngx_http_sluice_ctx_t *>(
        ngx_http_get_module_ctx(r, ngx_http_sluice_module));

    if (ctx == NULL || (data != NGX_HTTP_SLUICE_VAR_STATUS && !ctx->answered)) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case NGX_HTTP_SLUICE_VAR_STATUS:
        value = ngx_http_sluice_code_status(ctx);
        break;

    case NGX_HTTP_SLUICE_VAR_MESSAGE_ID:
        value = ctx->message_id;
        break;

    case NGX_HTTP_SLUICE_VAR_REJECT_REASON:
        if (ctx->code != NGX_HTTP_SLUICE_CODE_QUEUED) {
            value = ngx_http_sluice_str(ngx_http_sluice_code_name(ctx->code));
        }
        break;

    default:
        p = static_cast<u_char *>(ngx_pnalloc(r->pool, NGX_INT64_LEN + sizeof(".000000")));
        if (p == NULL) {
            return NGX_ERROR;
        }

        value.data = p;
        if (data == NGX_HTTP_SLUICE_VAR_RECORDS) {
            value.len = ngx_sprintf(p, "%ui", ctx->records) - p;

        } else if (ctx->redis_us) {
            value.len = ngx_sprintf(p, "%uL.%06uL", ctx->redis_us / 1000000,
                                    ctx->redis_us % 1000000) - p;
        }
    }

    v->not_found = value.len == 0;
    v->valid = 1;
    v->no_cacheable = 1;
    v->len = value.len;
    v->data = value.data;

    return NGX_OK;
}

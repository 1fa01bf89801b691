/*
 * What a request came to, for log_format: $sluice_status, $sluice_records, $sluice_message_id,
 * $sluice_reject_reason, $sluice_redis_time, $sluice_limit and $sluice_limit_status. And
 * $sluice_client, a key for limits, and $sluice_query, one for the cache.
 */

#include "ngx_http_sluice_variables.hpp"

#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_limit.hpp"
#include "ngx_http_sluice_query.hpp"


enum ngx_http_sluice_variable_e : uintptr_t {
    NGX_HTTP_SLUICE_VAR_STATUS = 0,
    NGX_HTTP_SLUICE_VAR_RECORDS,
    NGX_HTTP_SLUICE_VAR_MESSAGE_ID,
    NGX_HTTP_SLUICE_VAR_REJECT_REASON,
    NGX_HTTP_SLUICE_VAR_REDIS_TIME,
    NGX_HTTP_SLUICE_VAR_LIMIT,
    NGX_HTTP_SLUICE_VAR_LIMIT_STATUS
};

#define NGX_HTTP_SLUICE_IPV6_NETWORK  8


static ngx_int_t ngx_http_sluice_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data);
static ngx_int_t ngx_http_sluice_variable_client(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static const ngx_http_variable_t  ngx_http_sluice_variables[] = {

    { ngx_string("sluice_status"), NULL, ngx_http_sluice_variable,
      NGX_HTTP_SLUICE_VAR_STATUS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_records"), NULL, ngx_http_sluice_variable,
      NGX_HTTP_SLUICE_VAR_RECORDS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_message_id"), NULL, ngx_http_sluice_variable,
      NGX_HTTP_SLUICE_VAR_MESSAGE_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_reject_reason"), NULL, ngx_http_sluice_variable,
      NGX_HTTP_SLUICE_VAR_REJECT_REASON, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_redis_time"), NULL, ngx_http_sluice_variable,
      NGX_HTTP_SLUICE_VAR_REDIS_TIME, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_limit"), NULL, ngx_http_sluice_variable,
      NGX_HTTP_SLUICE_VAR_LIMIT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_limit_status"), NULL, ngx_http_sluice_variable,
      NGX_HTTP_SLUICE_VAR_LIMIT_STATUS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_client"), NULL, ngx_http_sluice_variable_client,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sluice_query"), NULL, ngx_http_sluice_query_variable, 0, 0, 0 }
};


ngx_int_t
ngx_http_sluice_add_variables(ngx_conf_t *cf)
{
    ngx_str_t             name;
    ngx_http_variable_t  *var;

    for (const auto &entry : ngx_http_sluice_variables) {
        name = entry.name;

        var = ngx_http_add_variable(cf, &name, entry.flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = entry.get_handler;
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

    case NGX_HTTP_SLUICE_VAR_LIMIT:
        value = ngx_http_sluice_str(ngx_http_sluice_limit_name(ctx->limited_by));
        break;

    case NGX_HTTP_SLUICE_VAR_LIMIT_STATUS:
        value = ngx_http_sluice_limit_verdict_names[ctx->limit_verdict];
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


/*
 * The client's address, in binary: of IPv6 its network of 64 bits, of which one client has all
 * addresses. With real_ip it is the address found there.
 */

static ngx_int_t
ngx_http_sluice_variable_client(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    struct sockaddr  *sa = r->connection->sockaddr;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    if (sa->sa_family == AF_INET) {
        v->data = reinterpret_cast<u_char *>(
            &reinterpret_cast<struct sockaddr_in *>(sa)->sin_addr);
        v->len = sizeof(in_addr_t);
        return NGX_OK;
    }

#if (NGX_HAVE_INET6)
    if (sa->sa_family == AF_INET6) {
        struct in6_addr  *address = &reinterpret_cast<struct sockaddr_in6 *>(sa)->sin6_addr;

        v->data = address->s6_addr;
        v->len = NGX_HTTP_SLUICE_IPV6_NETWORK;

        /* all of IPv4 is one such network */
        if (IN6_IS_ADDR_V4MAPPED(address)) {
            v->data += sizeof(struct in6_addr) - sizeof(in_addr_t);
            v->len = sizeof(in_addr_t);
        }

        return NGX_OK;
    }
#endif

    v->data = r->connection->addr_text.data;
    v->len = r->connection->addr_text.len;

    return NGX_OK;
}

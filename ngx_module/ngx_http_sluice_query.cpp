#include "ngx_http_sluice_query.hpp"

#include "common/query.hpp"
#include "common/query_accept.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_source.hpp"


static sluice::QueryFormat ngx_http_sluice_query_accept(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_query_log_handler(ngx_http_request_t *r);


/*
 * Of the target as it came, like $request_uri: rewrites and subrequests have the client's query. A
 * target that is no query stays as it is, for the server to say what is wrong with it; it cannot
 * be taken for another one, as it is not written as queries are. What Accept says becomes a part of
 * it, as the server sees no headers, and what it answers depends on no more than its target.
 */

ngx_int_t
ngx_http_sluice_query_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    char                *end;
    char                 written[sluice::kQueryTargetBytesMax];
    sluice::Query        query;
    sluice::QueryError   error;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    if (sluice::parse_query(ngx_http_sluice_view(r->unparsed_uri), &query, &error,
                            ngx_http_sluice_query_accept(r))
        != sluice::QueryVerdict::kGood)
    {
        v->data = r->unparsed_uri.data;
        v->len = r->unparsed_uri.len;
        return NGX_OK;
    }

    end = sluice::write_query(query, written);

    v->len = end - written;
    v->data = static_cast<u_char *>(ngx_pnalloc(r->pool, v->len));
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(v->data, written, v->len);

    return NGX_OK;
}


static sluice::QueryFormat
ngx_http_sluice_query_accept(ngx_http_request_t *r)
{
    ngx_str_t                   name = ngx_string("http_accept");
    ngx_http_variable_value_t  *accept;

    accept = ngx_http_get_variable(r, &name, ngx_hash_key(name.data, name.len));
    if (accept == NULL || accept->not_found) {
        return sluice::QueryFormat::kPage;
    }

    return sluice::format_accepted({reinterpret_cast<char *>(accept->data), accept->len});
}


ngx_int_t
ngx_http_sluice_query_init(ngx_conf_t *cf)
{
    ngx_str_t                     name = ngx_string("sluice_query");
    ngx_http_handler_pt          *h;
    ngx_http_variable_t          *v;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_http_sluice_main_conf_t  *smcf;

    cmcf = static_cast<ngx_http_core_main_conf_t *>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    smcf = static_cast<ngx_http_sluice_main_conf_t *>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module));

    v = static_cast<ngx_http_variable_t *>(cmcf->variables.elts);

    for (ngx_uint_t i = 0; i < cmcf->variables.nelts; i++) {
        if (v[i].name.len == name.len && ngx_strncmp(v[i].name.data, name.data, name.len) == 0) {
            smcf->query_index = i;
            break;
        }
    }

    if (smcf->query_index == NGX_CONF_UNSET) {
        return NGX_OK;
    }

    h = static_cast<ngx_http_handler_pt *>(
        ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers));
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sluice_query_log_handler;

    ngx_http_sluice_source_init();

    return NGX_OK;
}


const ngx_http_variable_value_t *
ngx_http_sluice_query_of(ngx_http_request_t *r)
{
    ngx_http_sluice_main_conf_t      *smcf;
    const ngx_http_variable_value_t  *query;

    smcf = static_cast<ngx_http_sluice_main_conf_t *>(
        ngx_http_get_module_main_conf(r, ngx_http_sluice_module));

    query = &r->variables[smcf->query_index];

    return query->valid ? query : NULL;
}


/* A log_format may have asked for the variable where no query is answered. */

static ngx_uint_t
ngx_http_sluice_query_endpoint(std::string_view query)
{
    const std::string_view  devices = "/api/logs/";
    const std::string_view  path = query.substr(0, query.find('?'));

    if (path == "/api/stats") {
        return NGX_HTTP_SLUICE_STATS;
    }

    if (path == "/api/hits") {
        return NGX_HTTP_SLUICE_HITS;
    }

    return path == "/api/logs" || path.substr(0, devices.size()) == devices
           ? NGX_HTTP_SLUICE_LOGS : NGX_HTTP_SLUICE_ENDPOINTS;
}


static ngx_int_t
ngx_http_sluice_query_log_handler(ngx_http_request_t *r)
{
    ngx_uint_t                        endpoint;
    ngx_http_sluice_counters_t       *counters = ngx_http_sluice_worker.counters;
    const ngx_http_variable_value_t  *query;

    if (r->upstream == NULL || r->upstream->cache_status == 0 || counters == NULL) {
        return NGX_OK;
    }

    query = ngx_http_sluice_query_of(r);
    if (query == NULL) {
        return NGX_OK;
    }

    endpoint = ngx_http_sluice_query_endpoint(
        std::string_view(reinterpret_cast<char *>(query->data), query->len));

    if (endpoint == NGX_HTTP_SLUICE_ENDPOINTS) {
        return NGX_OK;
    }

    counters->queries[endpoint][r->upstream->cache_status - 1]++;

    return NGX_OK;
}

/*
 * $sluice_query: what a reader asks, in the one way it is written. Locations key their cache by it
 * and pass it on; what became of their requests in the cache is counted.
 */

#ifndef NGX_HTTP_SLUICE_QUERY_HPP
#define NGX_HTTP_SLUICE_QUERY_HPP

#include "ngx_http_sluice.hpp"

ngx_int_t ngx_http_sluice_query_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data);

/* Where nothing names the variable, nothing is added to nginx' phases and filters. */
ngx_int_t ngx_http_sluice_query_init(ngx_conf_t *cf);

/* The query of a request that was asked for it, else NULL. */
const ngx_http_variable_value_t *ngx_http_sluice_query_of(ngx_http_request_t *r);

#endif

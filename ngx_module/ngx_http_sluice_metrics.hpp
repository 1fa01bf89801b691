#ifndef NGX_HTTP_SLUICE_METRICS_HPP
#define NGX_HTTP_SLUICE_METRICS_HPP

#include "ngx_http_sluice.hpp"

ngx_int_t ngx_http_sluice_metrics_handler(ngx_http_request_t *r);

#endif

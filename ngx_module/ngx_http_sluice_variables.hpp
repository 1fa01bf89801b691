#ifndef NGX_HTTP_SLUICE_VARIABLES_HPP
#define NGX_HTTP_SLUICE_VARIABLES_HPP

#include "ngx_http_sluice.hpp"

ngx_int_t ngx_http_sluice_add_variables(ngx_conf_t *cf);

#endif

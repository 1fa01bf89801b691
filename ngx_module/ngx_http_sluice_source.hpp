#ifndef NGX_HTTP_SLUICE_SOURCE_HPP
#define NGX_HTTP_SLUICE_SOURCE_HPP

#include "ngx_http_sluice.hpp"

void ngx_http_sluice_source_init(void);

#endif

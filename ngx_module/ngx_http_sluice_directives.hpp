#ifndef NGX_HTTP_SLUICE_DIRECTIVES_HPP
#define NGX_HTTP_SLUICE_DIRECTIVES_HPP

#include "ngx_http_sluice.hpp"

extern ngx_command_t ngx_http_sluice_commands[];

#endif

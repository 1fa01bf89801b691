/*
 * The directives of limits: sluice_limit_zone says who is counted and how fast they may be,
 * sluice_limit where that holds.
 */

#ifndef NGX_HTTP_SLUICE_LIMIT_CONF_HPP
#define NGX_HTTP_SLUICE_LIMIT_CONF_HPP

#include "ngx_http_sluice.hpp"

char *ngx_http_sluice_limit_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_sluice_limit_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* When all zones are known: what a location's limits come to. */
char *ngx_http_sluice_limit_merge(ngx_conf_t *cf, ngx_http_sluice_loc_conf_t *prev,
    ngx_http_sluice_loc_conf_t *conf);

#endif

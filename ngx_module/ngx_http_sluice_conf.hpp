#ifndef NGX_HTTP_SLUICE_CONF_HPP
#define NGX_HTTP_SLUICE_CONF_HPP

#include "ngx_http_sluice.hpp"

void *ngx_http_sluice_create_main_conf(ngx_conf_t *cf);
char *ngx_http_sluice_init_main_conf(ngx_conf_t *cf, void *conf);
void *ngx_http_sluice_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_sluice_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);

ngx_int_t ngx_http_sluice_conf_add_zone(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf,
    ngx_str_t *name, size_t size);

#endif

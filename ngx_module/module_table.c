/*
 * What nginx looks up in a dynamic module: the list of the modules in it. Plain C, as nginx's own
 * build would generate it.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#define NGX_EXPORT __attribute__((visibility("default")))

extern ngx_module_t ngx_http_sluice_module;

NGX_EXPORT ngx_module_t *ngx_modules[] = {
    &ngx_http_sluice_module,
    NULL
};

NGX_EXPORT char *ngx_module_names[] = {
    "ngx_http_sluice_module",
    NULL
};

NGX_EXPORT char *ngx_module_order[] = {
    NULL
};

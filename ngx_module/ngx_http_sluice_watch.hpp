/*
 * The watch over the promise: what Redis would survive, how full it is, and how the loader is doing.
 * Every new connection asks at once; after that one worker at a time asks twice a second, and tells
 * the others through the zone.
 */

#ifndef NGX_HTTP_SLUICE_WATCH_HPP
#define NGX_HTTP_SLUICE_WATCH_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_redis.hpp"

ngx_http_sluice_watch_t *ngx_http_sluice_watch_create(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *conf);
void ngx_http_sluice_watch_destroy(ngx_http_sluice_watch_t *watch);

/* The question, to be sent; NULL while it is asked already. */
ngx_http_sluice_command_t *ngx_http_sluice_watch_probe(ngx_http_sluice_watch_t *watch);

#endif

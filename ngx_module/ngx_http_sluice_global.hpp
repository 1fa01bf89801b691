/*
 * Limits with scope=global: all edges of a stream hold them together. Each judges by itself; one
 * worker of each tells Redis every 100 ms what was admitted, and learns what all owe together, on a
 * connection of its own, apart from the frames. No request waits for it. What that promises and
 * what not, common/global_limit says.
 */

#ifndef NGX_HTTP_SLUICE_GLOBAL_HPP
#define NGX_HTTP_SLUICE_GLOBAL_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_lease.hpp"
#include "ngx_http_sluice_limit.hpp"

/* In the zone. */
typedef struct {
    ngx_atomic_t edge;             /* this edge's name among the others; 0: not drawn yet */
    ngx_http_sluice_lease_t teller;

    ngx_atomic_t heard;            /* when Redis last answered; 0 = never */
    ngx_atomic_t edges;            /* alive, as it said then */

    ngx_atomic_t calls;
    ngx_atomic_t keys;             /* told in them */
    ngx_atomic_t failures;
} ngx_http_sluice_global_zone_t;

/* NULL if it cannot be made. It does nothing where no limit is global. */
ngx_http_sluice_global_t *ngx_http_sluice_global_create(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *conf);
void ngx_http_sluice_global_destroy(ngx_http_sluice_global_t *global);

/* Whether some limit is global. */
ngx_uint_t ngx_http_sluice_global_used(const ngx_http_sluice_global_t *global);

/* The edges as this one knows of them now. */
sluice::Edges ngx_http_sluice_global_edges(void);

/* What all edges call a key. */
uint64_t ngx_http_sluice_global_name(std::string_view key);

#endif

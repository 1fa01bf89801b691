/*
 * The zone: what the workers know together. Its parts are single words, written and read without
 * a lock, so that a worker killed at any moment leaves nothing half done.
 */

#ifndef NGX_HTTP_SLUICE_ZONE_HPP
#define NGX_HTTP_SLUICE_ZONE_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_global.hpp"
#include "ngx_http_sluice_lease.hpp"
#include "ngx_http_sluice_shed.hpp"

enum ngx_http_sluice_postgres_e : ngx_uint_t {
    NGX_HTTP_SLUICE_POSTGRES_UNKNOWN = 0, /* no loader has told for a while */
    NGX_HTTP_SLUICE_POSTGRES_DOWN,
    NGX_HTTP_SLUICE_POSTGRES_UP
};

/* Times are ngx_current_msec: monotonic, and the same clock in every worker. */
struct ngx_http_sluice_zone_s {
    ngx_atomic_t layout;         /* NGX_HTTP_SLUICE_ZONE_LAYOUT */

    ngx_http_sluice_lease_t watcher;  /* checks Redis */

    ngx_atomic_t checked;        /* when Redis last told its state; 0 = never */
    ngx_atomic_t durability;
    ngx_atomic_t aof_begins;     /* appendonly was off, and the AOF is not whole again */
    ngx_atomic_t undurable_told; /* when the log last said so; 0 = Redis is durable enough */
    ngx_atomic_t postgres;

    sluice::Breaker breaker;
    ngx_http_sluice_shed_zone_t shed;
    ngx_http_sluice_global_zone_t global;

    ngx_http_sluice_counters_t counters[NGX_HTTP_SLUICE_SLOTS];
};

#define NGX_HTTP_SLUICE_ZONE_LAYOUT 7
#define NGX_HTTP_SLUICE_ZONE_MIN    (256 * 1024)

/* A state older than this is no state. */
#define NGX_HTTP_SLUICE_STALE 5000

ngx_int_t ngx_http_sluice_zone_init(ngx_shm_zone_t *shm_zone, void *data);

/* The level of durability that Redis now gives, UNSAFE if it has not been heard of for long. */
ngx_uint_t ngx_http_sluice_durability(const ngx_http_sluice_zone_t *zone);
ngx_uint_t ngx_http_sluice_postgres(const ngx_http_sluice_zone_t *zone);

extern const ngx_str_t ngx_http_sluice_durability_names[];

#endif

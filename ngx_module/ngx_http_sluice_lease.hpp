/*
 * One worker of all, for what only one is to do. A lease rather than a lock: a worker that was
 * killed is followed by the next to ask.
 */

#ifndef NGX_HTTP_SLUICE_LEASE_HPP
#define NGX_HTTP_SLUICE_LEASE_HPP

#include "ngx_http_sluice.hpp"

/* In the zone. */
typedef struct {
    ngx_atomic_t holder;  /* pid; 0 = nobody */
    ngx_atomic_t until;
} ngx_http_sluice_lease_t;

/* Whether this worker holds it, from now on for so long. */
ngx_uint_t ngx_http_sluice_lease_take(ngx_http_sluice_lease_t *lease, ngx_msec_t length);

/* If this worker holds it the next one to ask need not wait for its end. */
void ngx_http_sluice_lease_leave(ngx_http_sluice_lease_t *lease);

#endif

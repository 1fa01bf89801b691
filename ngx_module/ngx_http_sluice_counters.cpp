#include "ngx_http_sluice_counters.hpp"

#include <csignal>

#include "ngx_http_sluice_zone.hpp"


const uint64_t  ngx_http_sluice_records_bounds[] = {
    1, 2, 5, 10, 30, 100, 300, 1000, 3000, 10000
};

const uint64_t  ngx_http_sluice_time_bounds[] = {
    100, 250, 500, 1000, 2000, 3000, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000
};


ngx_uint_t
ngx_http_sluice_counters_owner_lives(ngx_atomic_uint_t owner)
{
    return kill(static_cast<ngx_pid_t>(owner), 0) == 0 || ngx_errno != ESRCH;
}


ngx_http_sluice_counters_t *
ngx_http_sluice_counters_take(ngx_http_sluice_zone_t *zone)
{
    ngx_atomic_uint_t            owner;
    ngx_http_sluice_counters_t  *counters = NULL;

    for (ngx_uint_t i = 0; i < NGX_HTTP_SLUICE_SLOTS; i++) {
        counters = &zone->counters[i];
        owner = counters->owner;

        if (owner != 0 && ngx_http_sluice_counters_owner_lives(owner)) {
            continue;
        }

        if (ngx_atomic_cmp_set(&counters->owner, owner, static_cast<ngx_atomic_uint_t>(ngx_pid)))
        {
            break;
        }
    }

    /* of a worker that was killed */
    counters->inflight_requests = 0;
    counters->inflight_bytes = 0;
    counters->inflight_frames = 0;

    return counters;
}


void
ngx_http_sluice_counters_leave(ngx_http_sluice_counters_t *counters)
{
    (void) ngx_atomic_cmp_set(&counters->owner, static_cast<ngx_atomic_uint_t>(ngx_pid), 0);
}


ngx_uint_t
ngx_http_sluice_bucket(const uint64_t *bounds, ngx_uint_t n, uint64_t value)
{
    ngx_uint_t  i = 0;

    while (i < n && value > bounds[i]) {
        i++;
    }

    return i;
}

#include "ngx_http_sluice_lease.hpp"


ngx_uint_t
ngx_http_sluice_lease_take(ngx_http_sluice_lease_t *lease, ngx_msec_t length)
{
    const ngx_atomic_uint_t  pid = ngx_pid;
    const ngx_atomic_uint_t  holder = lease->holder;

    if (holder != pid) {
        if (holder != 0 && static_cast<ngx_msec_int_t>(ngx_current_msec - lease->until) < 0) {
            return 0;
        }
        if (!ngx_atomic_cmp_set(&lease->holder, holder, pid)) {
            return 0;
        }
    }

    lease->until = ngx_current_msec + length;

    return 1;
}


void
ngx_http_sluice_lease_leave(ngx_http_sluice_lease_t *lease)
{
    (void) ngx_atomic_cmp_set(&lease->holder, ngx_pid, 0);
}

#include "ngx_http_sluice_zone.hpp"

#include <new>


const ngx_str_t ngx_http_sluice_durability_names[] = {
    ngx_string("unknown"),
    ngx_string("memory"),
    ngx_string("everysec"),
    ngx_string("fsync")
};


/* After a reload the old zone goes on, if it means the same. */

ngx_int_t
ngx_http_sluice_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t         *shpool;
    ngx_http_sluice_zone_t  *zone;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    shpool = reinterpret_cast<ngx_slab_pool_t *>(shm_zone->shm.addr);

    if (shm_zone->shm.exists) {
        zone = static_cast<ngx_http_sluice_zone_t *>(shpool->data);
        if (zone == NULL || zone->layout != NGX_HTTP_SLUICE_ZONE_LAYOUT) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "sluice zone \"%V\" has another layout", &shm_zone->shm.name);
            return NGX_ERROR;
        }
        shm_zone->data = zone;
        return NGX_OK;
    }

    zone = static_cast<ngx_http_sluice_zone_t *>(
        ngx_slab_calloc(shpool, sizeof(ngx_http_sluice_zone_t)));
    if (zone == NULL) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "sluice zone \"%V\" is too small", &shm_zone->shm.name);
        return NGX_ERROR;
    }

    zone->layout = NGX_HTTP_SLUICE_ZONE_LAYOUT;

    new (&zone->breaker) sluice::Breaker();
    zone->breaker.begin(ngx_current_msec);

    shpool->data = zone;
    shm_zone->data = zone;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_sluice_zone_stale(const ngx_http_sluice_zone_t *zone)
{
    const ngx_msec_t  checked = zone->checked;

    return checked == 0
           || static_cast<ngx_msec_int_t>(ngx_current_msec - checked) > NGX_HTTP_SLUICE_STALE;
}


ngx_uint_t
ngx_http_sluice_durability(const ngx_http_sluice_zone_t *zone)
{
    return ngx_http_sluice_zone_stale(zone) ? NGX_HTTP_SLUICE_UNSAFE : zone->durability;
}


ngx_uint_t
ngx_http_sluice_postgres(const ngx_http_sluice_zone_t *zone)
{
    return ngx_http_sluice_zone_stale(zone) ? NGX_HTTP_SLUICE_POSTGRES_UNKNOWN : zone->postgres;
}

/*
 * A location with "sluice_health": the state of Redis and of Postgres, at most seconds old, read
 * from the zone. "live" asks only whether nginx answers; "ready", whether POSTs are taken now.
 */

#include "ngx_http_sluice_health.hpp"

#include "common/json_text.hpp"
#include "common/timestamp.hpp"
#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_breaker.hpp"
#include "ngx_http_sluice_redis.hpp"
#include "ngx_http_sluice_shed.hpp"
#include "ngx_http_sluice_zone.hpp"


static u_char *
ngx_http_sluice_health_checks(u_char *p, ngx_uint_t redis_ok)
{
    ngx_uint_t               postgres, durability;
    ngx_http_sluice_zone_t  *zone = ngx_http_sluice_worker.zone;

    static const char  *postgres_names[] = { "unknown", "failed", "ok" };

    postgres = ngx_http_sluice_postgres(zone);
    durability = redis_ok ? ngx_http_sluice_durability(zone) : NGX_HTTP_SLUICE_UNSAFE;

    return ngx_sprintf(p, "\"checks\":{\"redis\":\"%s\",\"postgres\":\"%s\"},"
                       "\"durability\":\"%V\",",
                       redis_ok ? "ok" : "failed", postgres_names[postgres],
                       &ngx_http_sluice_durability_names[durability]);
}


ngx_int_t
ngx_http_sluice_health_handler(ngx_http_request_t *r)
{
    char                        *out;
    ngx_int_t                    rc;
    ngx_buf_t                   *b;
    ngx_str_t                    type = ngx_string("application/json");
    const ngx_str_t              hostname = const_cast<ngx_cycle_t *>(ngx_cycle)->hostname;
    ngx_uint_t                   redis_ok, ready, all_ok;
    ngx_time_t                  *tp;
    const char                  *status;
    ngx_http_sluice_worker_t    *worker = &ngx_http_sluice_worker;
    ngx_http_sluice_loc_conf_t  *slcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    slcf = static_cast<ngx_http_sluice_loc_conf_t *>(
        ngx_http_get_module_loc_conf(r, ngx_http_sluice_module));

    redis_ok = ngx_http_sluice_redis_ready(worker->redis)
               && ngx_http_sluice_breaker_state(worker->breaker) == sluice::BreakerState::kClosed;
    ready = redis_ok && ngx_http_sluice_durability(worker->zone) >= worker->conf->durability;
    all_ok = ready && ngx_http_sluice_postgres(worker->zone) == NGX_HTTP_SLUICE_POSTGRES_UP;

    if (slcf->health == NGX_HTTP_SLUICE_HEALTH_LIVE) {
        status = "healthy";
        ready = 1;

    } else if (slcf->health == NGX_HTTP_SLUICE_HEALTH_READY) {
        ready = ready && !ngx_http_sluice_shed_state().sheds_all();
        status = ready ? "healthy" : "unhealthy";

    } else {
        /* without Postgres logs are still taken, and stored later */
        status = all_ok ? "healthy" : ready ? "degraded" : "unhealthy";
    }

    b = ngx_create_temp_buf(r->pool, 256 + hostname.len * sluice::kJsonEscapeFactor);
    if (b == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    b->last = ngx_sprintf(b->last, "{\"status\":\"%s\",\"instance\":\"", status);
    b->last = reinterpret_cast<u_char *>(
        sluice::json_escape(ngx_http_sluice_view(hostname),
                            reinterpret_cast<char *>(b->last)));
    b->last = ngx_cpymem(b->last, "\",", 2);

    if (slcf->health != NGX_HTTP_SLUICE_HEALTH_LIVE) {
        b->last = ngx_http_sluice_health_checks(b->last, redis_ok);
    }

    tp = ngx_timeofday();
    b->last = ngx_cpymem(b->last, "\"timestamp\":\"", sizeof("\"timestamp\":\"") - 1);
    out = sluice::format_timestamp((static_cast<int64_t>(tp->sec) * 1000 + tp->msec) * 1000,
                                   reinterpret_cast<char *>(b->last));
    b->last = ngx_cpymem(reinterpret_cast<u_char *>(out), "\"}", 2);

    return ngx_http_sluice_answer_send(r, ready ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE,
                                       type, b);
}

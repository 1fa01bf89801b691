/*
 * Defaults of the directives (here, nowhere else), how they are inherited, and what must fit
 * together before the first request.
 */

#include "ngx_http_sluice_conf.hpp"

#include "ngx_http_sluice_handler.hpp"
#include "ngx_http_sluice_health.hpp"
#include "ngx_http_sluice_limit_conf.hpp"
#include "ngx_http_sluice_zone.hpp"


static void ngx_http_sluice_init_breaker(ngx_http_sluice_main_conf_t *smcf);
static char *ngx_http_sluice_check_body_size(ngx_conf_t *cf,
    const ngx_http_sluice_loc_conf_t *conf);


void *
ngx_http_sluice_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_sluice_main_conf_t  *smcf;

    smcf = static_cast<ngx_http_sluice_main_conf_t *>(
        ngx_pcalloc(cf->pool, sizeof(ngx_http_sluice_main_conf_t)));
    if (smcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     smcf->shm_zone = NULL;
     *     smcf->redis_* = { 0 };
     *     smcf->stream = { 0, NULL };
     *     smcf->breaker_settings = { 0 };
     *     smcf->shed.records = 0;
     *     smcf->shed.bytes = 0;
     *     smcf->used = 0;
     */

    if (ngx_array_init(&smcf->limit_zones, cf->pool, 4, sizeof(ngx_shm_zone_t *)) != NGX_OK) {
        return NULL;
    }

    smcf->durability = NGX_CONF_UNSET_UINT;
    smcf->timeout = NGX_CONF_UNSET_MSEC;
    smcf->inflight_requests = NGX_CONF_UNSET_UINT;
    smcf->inflight_bytes = NGX_CONF_UNSET_SIZE;
    smcf->breaker = NGX_CONF_UNSET_UINT;
    smcf->shed.on = NGX_CONF_UNSET_UINT;
    smcf->query_index = NGX_CONF_UNSET;
    smcf->shed.marks = sluice::ShedMarks();

    return smcf;
}


char *
ngx_http_sluice_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_str_t                     zone_name = ngx_string("sluice");
    ngx_http_sluice_main_conf_t  *smcf = static_cast<ngx_http_sluice_main_conf_t *>(conf);

    if (!smcf->used) {
        return NGX_CONF_OK;
    }

    if (ngx_process == NGX_PROCESS_SINGLE && !ngx_is_init_cycle(cf->cycle->old_cycle)) {
        /* nginx would start neither its events nor any module anew, and serve nobody any more */
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "with \"master_process off\" nginx cannot reload: restart it");
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    if (smcf->redis_url.data == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sluice_redis\" is missing in http{}: name the Redis to write to, as in "
                      "\"sluice_redis unix:///run/redis/redis.sock;\"");
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    if (smcf->stream.data == NULL) {
        smcf->stream = ngx_http_sluice_str(sluice::kDefaultStream);
    }

    ngx_conf_init_uint_value(smcf->durability, NGX_HTTP_SLUICE_FSYNC);
    ngx_conf_init_msec_value(smcf->timeout, 5000);
    ngx_conf_init_uint_value(smcf->inflight_requests, 16384);
    ngx_conf_init_size_value(smcf->inflight_bytes, 64 * 1024 * 1024);
    ngx_http_sluice_init_breaker(smcf);
    ngx_conf_init_uint_value(smcf->shed.on, 1);

    if (smcf->shm_zone == NULL
        && ngx_http_sluice_conf_add_zone(cf, smcf, &zone_name, 2 * NGX_HTTP_SLUICE_ZONE_MIN)
           != NGX_OK)
    {
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    return NGX_CONF_OK;
}


/* Parameters that were not given are 0. */

static void
ngx_http_sluice_init_breaker(ngx_http_sluice_main_conf_t *smcf)
{
    sluice::BreakerSettings        *settings = &smcf->breaker_settings;
    const sluice::BreakerSettings   defaults;

    ngx_conf_init_uint_value(smcf->breaker, 1);

    auto init = [](uint32_t *value, uint32_t preset) {
        if (*value == 0) {
            *value = preset;
        }
    };

    init(&settings->failures_percent, defaults.failures_percent);
    init(&settings->calls_min, defaults.calls_min);
    init(&settings->slow_ms, defaults.slow_ms);
    init(&settings->open_ms, defaults.open_ms);

    /* a stall is to be seen before the requests that wait for it are given up */
    settings->slow_ms = ngx_min(settings->slow_ms, ngx_max(smcf->timeout * 3 / 4, 1));
}


ngx_int_t
ngx_http_sluice_conf_add_zone(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf, ngx_str_t *name,
    size_t size)
{
    smcf->shm_zone = ngx_shared_memory_add(cf, name, size, &ngx_http_sluice_module);
    if (smcf->shm_zone == NULL) {
        return NGX_ERROR;
    }

    smcf->shm_zone->init = ngx_http_sluice_zone_init;

    return NGX_OK;
}


void *
ngx_http_sluice_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_sluice_loc_conf_t  *slcf;

    slcf = static_cast<ngx_http_sluice_loc_conf_t *>(
        ngx_pcalloc(cf->pool, sizeof(ngx_http_sluice_loc_conf_t)));
    if (slcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc(), and like every content handler not inherited:
     *
     *     slcf->ingest = NGX_HTTP_SLUICE_OFF;
     *     slcf->health = NGX_HTTP_SLUICE_HEALTH_OFF;
     *
     * set by ngx_pcalloc(), and inherited:
     *
     *     slcf->limits = NULL;
     */

    slcf->records_max = NGX_CONF_UNSET_UINT;
    slcf->record_bytes_max = NGX_CONF_UNSET_SIZE;
    slcf->inflated_bytes_max = NGX_CONF_UNSET_SIZE;
    slcf->inflate_ratio_max = NGX_CONF_UNSET_UINT;
    slcf->partial = NGX_CONF_UNSET_UINT;
    slcf->limit_status = NGX_CONF_UNSET_UINT;
    slcf->unknown_fields = NGX_CONF_UNSET_UINT;
    slcf->principal = static_cast<ngx_http_complex_value_t *>(NGX_CONF_UNSET_PTR);

    return slcf;
}


char *
ngx_http_sluice_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_sluice_loc_conf_t  *prev = static_cast<ngx_http_sluice_loc_conf_t *>(parent);
    ngx_http_sluice_loc_conf_t  *conf = static_cast<ngx_http_sluice_loc_conf_t *>(child);

    ngx_http_core_loc_conf_t    *clcf;

    clcf = static_cast<ngx_http_core_loc_conf_t *>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));

    /* blocks of "if" and "limit_except" are parts of their location */
    if ((clcf->noname || clcf->lmt_excpt) && conf->ingest == NGX_HTTP_SLUICE_OFF
        && conf->health == NGX_HTTP_SLUICE_HEALTH_OFF)
    {
        conf->ingest = prev->ingest;
        conf->health = prev->health;

        if (clcf->handler == NULL && conf->ingest != NGX_HTTP_SLUICE_OFF) {
            clcf->handler = ngx_http_sluice_handler;

        } else if (clcf->handler == NULL && conf->health != NGX_HTTP_SLUICE_HEALTH_OFF) {
            clcf->handler = ngx_http_sluice_health_handler;
        }
    }

    ngx_conf_merge_uint_value(conf->records_max, prev->records_max, sluice::kRecordsPerRequest);
    ngx_conf_merge_size_value(conf->record_bytes_max, prev->record_bytes_max,
                              sluice::kRecordBytes);
    ngx_conf_merge_size_value(conf->inflated_bytes_max, prev->inflated_bytes_max,
                              sluice::kInflatedBytes);
    ngx_conf_merge_uint_value(conf->inflate_ratio_max, prev->inflate_ratio_max,
                              sluice::kInflateRatio);
    ngx_conf_merge_uint_value(conf->partial, prev->partial, 0);
    ngx_conf_merge_uint_value(conf->unknown_fields, prev->unknown_fields, 0);
    ngx_conf_merge_ptr_value(conf->principal, prev->principal,
                             static_cast<ngx_http_complex_value_t *>(NULL));

    ngx_conf_merge_uint_value(conf->limit_status, prev->limit_status,
                              NGX_HTTP_TOO_MANY_REQUESTS);

    if (ngx_http_sluice_limit_merge(cf, prev, conf) != NGX_CONF_OK) {
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    if (conf->ingest != NGX_HTTP_SLUICE_OFF) {
        return ngx_http_sluice_check_body_size(cf, conf);
    }

    return NGX_CONF_OK;
}


/* Bodies are parsed in memory; one that nginx had put into a file could only be refused. */

static char *
ngx_http_sluice_check_body_size(ngx_conf_t *cf, const ngx_http_sluice_loc_conf_t *conf)
{
    size_t                        inflating;
    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_sluice_main_conf_t  *smcf;

    clcf = static_cast<ngx_http_core_loc_conf_t *>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));

    if (clcf->client_max_body_size == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"client_max_body_size 0\" leaves bodies without a bound in location "
                      "\"%V\" with \"sluice\": set a size", &clcf->name);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    if (static_cast<off_t>(clcf->client_body_buffer_size) < clcf->client_max_body_size) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"client_body_buffer_size\" (%uz) is smaller than "
                      "\"client_max_body_size\" (%O) in location \"%V\" with \"sluice\", "
                      "which takes bodies in memory only: set both to the same size",
                      clcf->client_body_buffer_size, clcf->client_max_body_size, &clcf->name);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    smcf = static_cast<ngx_http_sluice_main_conf_t *>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module));

    /* a compressed body, and what it becomes */
    inflating = clcf->client_max_body_size + sluice::Inflater::kMemoryBytes
                + conf->inflated_bytes_max;

    if (smcf->inflight_bytes < inflating) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sluice_max_inflight bytes=\" (%uz) is smaller than "
                      "\"client_max_body_size\" (%O) and \"sluice_max_inflated\" (%uz) "
                      "together (%uz) in location \"%V\": such a body could never pass",
                      smcf->inflight_bytes, clcf->client_max_body_size,
                      conf->inflated_bytes_max, inflating, &clcf->name);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    if (clcf->client_body_in_file_only) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"client_body_in_file_only\" cannot be used in location \"%V\" with "
                      "\"sluice\", which takes bodies in memory only", &clcf->name);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    return NGX_CONF_OK;
}

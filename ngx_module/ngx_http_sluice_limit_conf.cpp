#include "ngx_http_sluice_limit_conf.hpp"

#include "ngx_http_sluice_limit.hpp"


/* What follows the "=" of a parameter, if it is the one of this name. */

static ngx_uint_t
ngx_http_sluice_limit_parameter(const ngx_str_t &parameter, const char *name, ngx_str_t *value)
{
    const size_t  len = ngx_strlen(name);

    if (parameter.len <= len || ngx_strncmp(parameter.data, name, len) != 0) {
        return 0;
    }

    value->data = parameter.data + len;
    value->len = parameter.len - len;

    return 1;
}


static char *
ngx_http_sluice_limit_error(ngx_conf_t *cf, const ngx_str_t &parameter, const char *rule)
{
    ngx_str_t   value = parameter;
    ngx_str_t  *args = static_cast<ngx_str_t *>(cf->args->elts);

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\" of \"%V\": %s", &value,
                       &args[0], rule);

    return static_cast<char *>(NGX_CONF_ERROR);
}


/* The name is a label of metrics and a word in headers. */

static ngx_int_t
ngx_http_sluice_limit_check_name(const ngx_str_t &name)
{
    for (size_t i = 0; i < name.len; i++) {
        const u_char  c = name.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
              || c == '_' || c == '-'))
        {
            return NGX_ERROR;
        }
    }

    return name.len && name.len <= NGX_HTTP_SLUICE_LIMIT_NAME_MAX ? NGX_OK : NGX_ERROR;
}


/* NUMBERr/s, NUMBERr/m: records; SIZEb/s, SIZEb/m with k, m or g before the b: bytes. */

static ngx_int_t
ngx_http_sluice_limit_parse_rate(ngx_str_t text, ngx_http_sluice_limit_zone_t *zone)
{
    off_t  rate;

    if (text.len < 4 || text.data[text.len - 2] != '/') {
        return NGX_ERROR;
    }

    switch (text.data[text.len - 1]) {
    case 's':
        zone->period_ns = 1000000000ull;
        break;
    case 'm':
        zone->period_ns = 60 * 1000000000ull;
        break;
    default:
        return NGX_ERROR;
    }

    text.len -= 3;

    switch (text.data[text.len]) {
    case 'r':
        rate = ngx_atoi(text.data, text.len);
        break;
    case 'b':
        rate = ngx_parse_offset(&text);
        zone->bytes = 1;
        break;
    default:
        return NGX_ERROR;
    }

    zone->rate = rate;

    return rate > 0 && rate <= NGX_HTTP_SLUICE_RATE_MAX ? NGX_OK : NGX_ERROR;
}


char *
ngx_http_sluice_limit_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    u_char                            *colon;
    ssize_t                            size = 0;
    ngx_str_t                         *value, text;
    ngx_shm_zone_t                    *shm_zone, **listed;
    ngx_http_sluice_main_conf_t       *smcf = static_cast<ngx_http_sluice_main_conf_t *>(conf);
    ngx_http_sluice_limit_zone_t      *zone;
    ngx_http_compile_complex_value_t   ccv;

    value = static_cast<ngx_str_t *>(cf->args->elts);

    zone = static_cast<ngx_http_sluice_limit_zone_t *>(
        ngx_pcalloc(cf->pool, sizeof(ngx_http_sluice_limit_zone_t)));
    if (zone == NULL
        || ngx_array_init(&zone->limits, cf->pool, 4, sizeof(ngx_http_sluice_limit_t *)) != NGX_OK)
    {
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    zone->key_text = value[1];
    zone->when_full = sluice::WhenFull::kEvict;

    if (ngx_strcmp(value[1].data, "device_id") == 0) {
        zone->by_device = 1;

    } else {
        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));
        ccv.cf = cf;
        ccv.value = &value[1];
        ccv.complex_value = &zone->key;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return static_cast<char *>(NGX_CONF_ERROR);
        }

        if (zone->key.lengths == NULL) {
            return ngx_http_sluice_limit_error(cf, value[1],
                "the key must be \"device_id\" or contain a variable: everybody would share it");
        }
    }

    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {

        if (zone->name.len == 0
            && ngx_http_sluice_limit_parameter(value[i], "zone=", &zone->name))
        {
            colon = ngx_strlchr(zone->name.data, zone->name.data + zone->name.len, ':');
            if (colon) {
                text.data = colon + 1;
                text.len = zone->name.data + zone->name.len - text.data;
                zone->name.len = colon - zone->name.data;
                size = ngx_parse_size(&text);
            }

            if (colon == NULL || ngx_http_sluice_limit_check_name(zone->name) != NGX_OK
                || size < NGX_HTTP_SLUICE_LIMIT_ZONE_MIN)
            {
                return ngx_http_sluice_limit_error(cf, value[i],
                    "it must be zone=NAME:SIZE, a name of 1 to 64 letters, digits, _ and -, and 64k "
                    "at least");
            }

        } else if (zone->rate == 0
                   && ngx_http_sluice_limit_parameter(value[i], "rate=", &text))
        {
            if (ngx_http_sluice_limit_parse_rate(text, zone) != NGX_OK) {
                return ngx_http_sluice_limit_error(cf, value[i],
                    "it must be records as in rate=500r/s or rate=30r/m, or bytes as in "
                    "rate=20mb/s");
            }

        } else if (ngx_strcmp(value[i].data, "full=open") == 0) {
            zone->when_full = sluice::WhenFull::kEvict;

        } else if (ngx_strcmp(value[i].data, "full=closed") == 0) {
            zone->when_full = sluice::WhenFull::kRefuse;

        } else if (ngx_strcmp(value[i].data, "scope=local") == 0) {
            zone->global = 0;

        } else if (ngx_strcmp(value[i].data, "scope=global") == 0) {
            zone->global = 1;

        } else {
            return ngx_http_sluice_limit_error(cf, value[i],
                "it takes zone=NAME:SIZE, rate=RATE, full=open or full=closed, and scope=local or "
                "scope=global, each once");
        }
    }

    if (zone->name.len == 0 || zone->rate == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" needs zone=NAME:SIZE and rate=RATE",
                           &cmd->name);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    shm_zone = ngx_shared_memory_add(cf, &zone->name, size, &ngx_http_sluice_limit_tag);
    if (shm_zone == NULL) {
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    if (shm_zone->data) {
        return ngx_http_sluice_limit_error(cf, zone->name, "a zone of this name is there already");
    }

    shm_zone->init = ngx_http_sluice_limit_zone_init;
    shm_zone->data = zone;

    listed = static_cast<ngx_shm_zone_t **>(ngx_array_push(&smcf->limit_zones));
    if (listed == NULL) {
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    *listed = shm_zone;

    return NGX_CONF_OK;
}


char *
ngx_http_sluice_limit_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    off_t                        size;
    ngx_int_t                    delay;
    ngx_str_t                   *value, text;
    ngx_http_sluice_limit_t     *limit, *other;
    ngx_http_sluice_loc_conf_t  *slcf = static_cast<ngx_http_sluice_loc_conf_t *>(conf);

    if (slcf->limits == NULL) {
        slcf->limits = ngx_array_create(cf->pool, 4, sizeof(ngx_http_sluice_limit_t));
        if (slcf->limits == NULL) {
            return static_cast<char *>(NGX_CONF_ERROR);
        }
    }

    value = static_cast<ngx_str_t *>(cf->args->elts);

    limit = static_cast<ngx_http_sluice_limit_t *>(ngx_array_push(slcf->limits));
    if (limit == NULL) {
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    ngx_memzero(limit, sizeof(ngx_http_sluice_limit_t));

    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {

        if (limit->shm_zone == NULL
            && ngx_http_sluice_limit_parameter(value[i], "zone=", &text))
        {
            limit->shm_zone = ngx_shared_memory_add(cf, &text, 0, &ngx_http_sluice_limit_tag);
            if (limit->shm_zone == NULL) {
                return static_cast<char *>(NGX_CONF_ERROR);
            }

        } else if (limit->burst == 0
                   && ngx_http_sluice_limit_parameter(value[i], "burst=", &text))
        {
            size = ngx_parse_offset(&text);
            if (size <= 0 || size > NGX_HTTP_SLUICE_RATE_MAX) {
                return ngx_http_sluice_limit_error(cf, value[i],
                    "it must be a number of records or, where the zone counts bytes, a size");
            }
            limit->burst = size;

        } else if (limit->delay == 0
                   && ngx_http_sluice_limit_parameter(value[i], "delay=", &text))
        {
            delay = ngx_parse_time(&text, 0);
            if (delay <= 0 || delay > NGX_HTTP_SLUICE_DELAY_MAX) {
                return ngx_http_sluice_limit_error(cf, value[i],
                    "it must be a time above 0 and 60s at most, as in delay=500ms");
            }
            limit->delay = delay;

        } else if (ngx_strcmp(value[i].data, "dry_run") == 0) {
            limit->dry_run = 1;

        } else {
            return ngx_http_sluice_limit_error(cf, value[i],
                "it takes zone=NAME, burst=NUMBER, delay=TIME and dry_run, each once");
        }
    }

    if (limit->shm_zone == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" needs zone=NAME", &cmd->name);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    other = static_cast<ngx_http_sluice_limit_t *>(slcf->limits->elts);
    for (ngx_uint_t i = 0; i + 1 < slcf->limits->nelts; i++) {
        if (other[i].shm_zone == limit->shm_zone) {
            return const_cast<char *>("is duplicate: this zone limits here already");
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_sluice_limit_merge(ngx_conf_t *cf, ngx_http_sluice_loc_conf_t *prev,
    ngx_http_sluice_loc_conf_t *conf)
{
    ngx_http_sluice_limit_t       *limit, **listed;
    ngx_http_sluice_limit_zone_t  *zone;

    if (conf->limits == NULL) {
        conf->limits = prev->limits;
    }

    for (ngx_uint_t i = 0; conf->limits && i < conf->limits->nelts; i++) {
        limit = static_cast<ngx_http_sluice_limit_t *>(conf->limits->elts) + i;
        zone = ngx_http_sluice_limit_zone(limit);

        if (zone == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"sluice_limit\" names zone \"%V\", but there is no "
                          "\"sluice_limit_zone\" of that name", &limit->shm_zone->shm.name);
            return static_cast<char *>(NGX_CONF_ERROR);
        }

        if (limit->burst == 0) {
            limit->burst = ngx_max(zone->rate / (zone->period_ns / 1000000000), 1);
        }

        limit->gcra = sluice::GcraLimit(zone->rate, zone->period_ns, limit->burst,
                                        limit->delay * 1000000ull);

        listed = static_cast<ngx_http_sluice_limit_t **>(ngx_array_push(&zone->limits));
        if (listed == NULL) {
            return static_cast<char *>(NGX_CONF_ERROR);
        }

        *listed = limit;
    }

    return NGX_CONF_OK;
}

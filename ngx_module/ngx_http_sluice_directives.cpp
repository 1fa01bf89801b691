/*
 * The table of directives, and what each does with its parameters: every mistake that can be seen
 * in one alone is found here.
 */

#include "ngx_http_sluice_directives.hpp"

#include "common/redis_url.hpp"
#include "ngx_http_sluice_conf.hpp"
#include "ngx_http_sluice_handler.hpp"
#include "ngx_http_sluice_health.hpp"
#include "ngx_http_sluice_limit_conf.hpp"
#include "ngx_http_sluice_metrics.hpp"
#include "ngx_http_sluice_shed.hpp"
#include "ngx_http_sluice_zone.hpp"


#define NGX_HTTP_SLUICE_PASSWORD_MAX  512

/* offsets into a body have 32 bits */
#define NGX_HTTP_SLUICE_INFLATED_MAX  (1024 * 1024 * 1024)


static char *ngx_http_sluice_ingest(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sluice_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sluice_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sluice_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sluice_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sluice_stream(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sluice_max_inflight(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sluice_breaker(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_sluice_breaker_parameter(const ngx_str_t &value,
    sluice::BreakerSettings *settings);
static char *ngx_http_sluice_enum(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sluice_check_positive(ngx_conf_t *cf, void *post, void *data);
static char *ngx_http_sluice_check_inflated(ngx_conf_t *cf, void *post, void *data);
static ngx_int_t ngx_http_sluice_resolve(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf,
    const sluice::RedisUrl &url);
static ngx_int_t ngx_http_sluice_read_password(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf,
    ngx_str_t *file);


static ngx_conf_enum_t  ngx_http_sluice_durability_levels[] = {
    { ngx_string("memory"), NGX_HTTP_SLUICE_MEMORY },
    { ngx_string("everysec"), NGX_HTTP_SLUICE_EVERYSEC },
    { ngx_string("fsync"), NGX_HTTP_SLUICE_FSYNC },
    { ngx_null_string, 0 }
};

static ngx_conf_enum_t  ngx_http_sluice_batch_modes[] = {
    { ngx_string("atomic"), 0 },
    { ngx_string("partial"), 1 },
    { ngx_null_string, 0 }
};

static ngx_conf_enum_t  ngx_http_sluice_unknown_fields[] = {
    { ngx_string("ignore"), 0 },
    { ngx_string("refuse"), 1 },
    { ngx_null_string, 0 }
};

/* some agents send again after 503, but not after 429 */
static ngx_conf_enum_t  ngx_http_sluice_limit_statuses[] = {
    { ngx_string("429"), NGX_HTTP_TOO_MANY_REQUESTS },
    { ngx_string("503"), NGX_HTTP_SERVICE_UNAVAILABLE },
    { ngx_null_string, 0 }
};

static ngx_conf_num_bounds_t  ngx_http_sluice_max_records_bounds = {
    ngx_conf_check_num_bounds, 1, 100000
};

static ngx_conf_num_bounds_t  ngx_http_sluice_max_inflate_ratio_bounds = {
    ngx_conf_check_num_bounds, 1, sluice::kInflateRatioMax
};

static ngx_conf_post_t  ngx_http_sluice_positive = { ngx_http_sluice_check_positive };
static ngx_conf_post_t  ngx_http_sluice_inflated = { ngx_http_sluice_check_inflated };


ngx_command_t  ngx_http_sluice_commands[] = {

    { ngx_string("sluice"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_ingest,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_sluice_health,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_sluice_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_stream"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_stream,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_durability"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_enum,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_sluice_main_conf_t, durability),
      &ngx_http_sluice_durability_levels },

    { ngx_string("sluice_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_sluice_main_conf_t, timeout),
      &ngx_http_sluice_positive },

    { ngx_string("sluice_max_inflight"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_sluice_max_inflight,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_breaker"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1234,
      ngx_http_sluice_breaker,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_shed"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_sluice_shed_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_max_records"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, records_max),
      &ngx_http_sluice_max_records_bounds },

    { ngx_string("sluice_max_record_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, record_bytes_max),
      &ngx_http_sluice_positive },

    { ngx_string("sluice_batch"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_enum,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, partial),
      &ngx_http_sluice_batch_modes },

    { ngx_string("sluice_max_inflated"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, inflated_bytes_max),
      &ngx_http_sluice_inflated },

    { ngx_string("sluice_max_inflate_ratio"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, inflate_ratio_max),
      &ngx_http_sluice_max_inflate_ratio_bounds },

    { ngx_string("sluice_unknown_fields"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_enum,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, unknown_fields),
      &ngx_http_sluice_unknown_fields },

    { ngx_string("sluice_principal"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, principal),
      NULL },

    { ngx_string("sluice_limit_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_sluice_limit_zone_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_sluice_limit_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sluice_limit_status"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_sluice_enum,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sluice_loc_conf_t, limit_status),
      &ngx_http_sluice_limit_statuses },

    { ngx_string("sluice_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_sluice_metrics,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static void
ngx_http_sluice_set_handler(ngx_conf_t *cf, ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_sluice_main_conf_t  *smcf;

    clcf = static_cast<ngx_http_core_loc_conf_t *>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    smcf = static_cast<ngx_http_sluice_main_conf_t *>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_sluice_module));

    clcf->handler = handler;
    smcf->used = 1;
}


static char *
ngx_http_sluice_ingest(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                   *value = static_cast<ngx_str_t *>(cf->args->elts);
    ngx_http_sluice_loc_conf_t  *slcf = static_cast<ngx_http_sluice_loc_conf_t *>(conf);

    if (slcf->ingest != NGX_HTTP_SLUICE_OFF) {
        return const_cast<char *>("is duplicate");
    }

    if (ngx_strcmp(value[1].data, "log") == 0) {
        slcf->ingest = NGX_HTTP_SLUICE_LOG;

    } else if (ngx_strcmp(value[1].data, "batch") == 0) {
        slcf->ingest = NGX_HTTP_SLUICE_BATCH;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"%V\": it must be \"log\" or \"batch\"",
                           &value[1], &cmd->name);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    ngx_http_sluice_set_handler(cf, ngx_http_sluice_handler);

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                   *value = static_cast<ngx_str_t *>(cf->args->elts);
    ngx_http_sluice_loc_conf_t  *slcf = static_cast<ngx_http_sluice_loc_conf_t *>(conf);

    if (slcf->health != NGX_HTTP_SLUICE_HEALTH_OFF) {
        return const_cast<char *>("is duplicate");
    }

    if (cf->args->nelts == 1) {
        slcf->health = NGX_HTTP_SLUICE_HEALTH_ALL;

    } else if (ngx_strcmp(value[1].data, "live") == 0) {
        slcf->health = NGX_HTTP_SLUICE_HEALTH_LIVE;

    } else if (ngx_strcmp(value[1].data, "ready") == 0) {
        slcf->health = NGX_HTTP_SLUICE_HEALTH_READY;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"%V\": it must be \"live\" or \"ready\", "
                           "or left out", &value[1], &cmd->name);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    ngx_http_sluice_set_handler(cf, ngx_http_sluice_health_handler);

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sluice_set_handler(cf, ngx_http_sluice_metrics_handler);

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    u_char                       *colon;
    ssize_t                       size;
    ngx_str_t                    *value, name, text;
    ngx_http_sluice_main_conf_t  *smcf = static_cast<ngx_http_sluice_main_conf_t *>(conf);

    if (smcf->shm_zone != NULL) {
        return const_cast<char *>("is duplicate");
    }

    value = static_cast<ngx_str_t *>(cf->args->elts);
    colon = ngx_strlchr(value[1].data, value[1].data + value[1].len, ':');
    if (colon == NULL || colon == value[1].data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone \"%V\": it must be NAME:SIZE, as in \"sluice:512k\"",
                           &value[1]);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    name.data = value[1].data;
    name.len = colon - name.data;
    text.data = colon + 1;
    text.len = value[1].data + value[1].len - text.data;

    size = ngx_parse_size(&text);
    if (size == NGX_ERROR || size < NGX_HTTP_SLUICE_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size of zone \"%V\": it must be at least %dk",
                           &value[1], NGX_HTTP_SLUICE_ZONE_MIN / 1024);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    return ngx_http_sluice_conf_add_zone(cf, smcf, &name, size) == NGX_OK
           ? NGX_CONF_OK : static_cast<char *>(NGX_CONF_ERROR);
}


static char *
ngx_http_sluice_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                    *value, file;
    const char                   *error;
    sluice::RedisUrl              url;
    ngx_http_sluice_main_conf_t  *smcf = static_cast<ngx_http_sluice_main_conf_t *>(conf);

    if (smcf->redis_url.data != NULL) {
        return const_cast<char *>("is duplicate");
    }

    value = static_cast<ngx_str_t *>(cf->args->elts);
    smcf->redis_url = value[1];

    if (!sluice::parse_redis_url(ngx_http_sluice_view(value[1]), &url, &error)) {
        /* the URL may hold a password: it is not repeated */
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid URL of \"%V\": %s", &cmd->name, error);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    smcf->redis_user = ngx_http_sluice_str(url.user);
    smcf->redis_password = ngx_http_sluice_str(url.password);
    smcf->redis_db = url.db;

    if (cf->args->nelts == 3) {
        if (ngx_strncmp(value[2].data, "password_file=", 14) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter of \"%V\": only password_file=PATH may follow "
                               "the URL", &cmd->name);
            return static_cast<char *>(NGX_CONF_ERROR);
        }

        file.data = value[2].data + 14;
        file.len = value[2].len - 14;

        if (ngx_http_sluice_read_password(cf, smcf, &file) != NGX_OK) {
            return static_cast<char *>(NGX_CONF_ERROR);
        }
    }

    return ngx_http_sluice_resolve(cf, smcf, url) == NGX_OK
           ? NGX_CONF_OK : static_cast<char *>(NGX_CONF_ERROR);
}


/* Here and now, when it may block; a worker must not. */

static ngx_int_t
ngx_http_sluice_resolve(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf,
    const sluice::RedisUrl &url)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    if (url.is_unix) {
        u.url.len = sizeof("unix:") - 1 + url.path.size();
        u.url.data = static_cast<u_char *>(ngx_pnalloc(cf->pool, u.url.len + 1));
        if (u.url.data == NULL) {
            return NGX_ERROR;
        }
        *ngx_cpymem(ngx_cpymem(u.url.data, "unix:", 5), url.path.data(), url.path.size()) = '\0';

    } else {
        u.url = ngx_http_sluice_str(url.host);
        u.default_port = url.port;
    }

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in the URL of \"sluice_redis\"",
                           u.err ? u.err : "no address");
        return NGX_ERROR;
    }

    smcf->redis_addr = u.addrs[0];

    return NGX_OK;
}


static ngx_int_t
ngx_http_sluice_read_password(ngx_conf_t *cf, ngx_http_sluice_main_conf_t *smcf, ngx_str_t *file)
{
    u_char   *buf;
    ssize_t   n;
    ngx_fd_t  fd;

    if (ngx_conf_full_name(cf->cycle, file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, "cannot open password_file \"%V\"", file);
        return NGX_ERROR;
    }

    buf = static_cast<u_char *>(ngx_pnalloc(cf->pool, NGX_HTTP_SLUICE_PASSWORD_MAX));
    n = buf == NULL ? -1 : ngx_read_fd(fd, buf, NGX_HTTP_SLUICE_PASSWORD_MAX);
    ngx_close_file(fd);

    /* the password is the first line */
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] == '\n' || buf[i] == '\r') {
            n = i;
        }
    }

    if (n <= 0 || n == NGX_HTTP_SLUICE_PASSWORD_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "password_file \"%V\" must hold a password of 1 to %d bytes", file,
                           NGX_HTTP_SLUICE_PASSWORD_MAX - 1);
        return NGX_ERROR;
    }

    smcf->redis_password.data = buf;
    smcf->redis_password.len = n;

    return NGX_OK;
}


static char *
ngx_http_sluice_stream(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                    *value = static_cast<ngx_str_t *>(cf->args->elts);
    ngx_http_sluice_main_conf_t  *smcf = static_cast<ngx_http_sluice_main_conf_t *>(conf);

    if (smcf->stream.data != NULL) {
        return const_cast<char *>("is duplicate");
    }

    if (value[1].len == 0 || value[1].len > sluice::kStreamNameBytesMax) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the name in \"%V\" must have 1 to %uz bytes", &cmd->name,
                           sluice::kStreamNameBytesMax);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    smcf->stream = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_max_inflight(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ssize_t                       size;
    ngx_int_t                     n;
    ngx_str_t                    *value, text;
    ngx_http_sluice_main_conf_t  *smcf = static_cast<ngx_http_sluice_main_conf_t *>(conf);

    value = static_cast<ngx_str_t *>(cf->args->elts);

    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "requests=", 9) == 0
            && smcf->inflight_requests == NGX_CONF_UNSET_UINT)
        {
            n = ngx_atoi(value[i].data + 9, value[i].len - 9);
            if (n > 0) {
                smcf->inflight_requests = n;
                continue;
            }

        } else if (ngx_strncmp(value[i].data, "bytes=", 6) == 0
                   && smcf->inflight_bytes == NGX_CONF_UNSET_SIZE)
        {
            text.data = value[i].data + 6;
            text.len = value[i].len - 6;
            size = ngx_parse_size(&text);
            if (size > 0) {
                smcf->inflight_bytes = size;
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"%V\": it takes requests=NUMBER and "
                           "bytes=SIZE, each once and above 0", &value[i], &cmd->name);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_breaker(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                    *value = static_cast<ngx_str_t *>(cf->args->elts);
    ngx_http_sluice_main_conf_t  *smcf = static_cast<ngx_http_sluice_main_conf_t *>(conf);

    if (smcf->breaker != NGX_CONF_UNSET_UINT) {
        return const_cast<char *>("is duplicate");
    }

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        smcf->breaker = 0;
        return NGX_CONF_OK;
    }

    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_sluice_breaker_parameter(value[i], &smcf->breaker_settings) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"%V\": it is \"off\", or takes "
                               "failures=1%%..100%%, calls=1..100000, slow=10ms..60s and "
                               "open=100ms..60s, each once", &value[i], &cmd->name);
            return static_cast<char *>(NGX_CONF_ERROR);
        }
    }

    smcf->breaker = 1;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_sluice_breaker_parameter(const ngx_str_t &value, sluice::BreakerSettings *settings)
{
    ngx_int_t   number, least, most;
    uint32_t   *to;
    ngx_str_t   text;

    text.data = ngx_strlchr(value.data, value.data + value.len, '=');
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.data++;
    text.len = value.data + value.len - text.data;

    if (ngx_strncmp(value.data, "failures=", 9) == 0) {
        if (text.len == 0 || text.data[text.len - 1] != '%') {
            return NGX_ERROR;
        }
        to = &settings->failures_percent;
        number = ngx_atoi(text.data, text.len - 1);
        least = 1;
        most = 100;

    } else if (ngx_strncmp(value.data, "calls=", 6) == 0) {
        to = &settings->calls_min;
        number = ngx_atoi(text.data, text.len);
        least = 1;
        most = 100000;

    } else if (ngx_strncmp(value.data, "slow=", 5) == 0) {
        to = &settings->slow_ms;
        number = ngx_parse_time(&text, 0);
        least = 10;
        most = 60000;

    } else if (ngx_strncmp(value.data, "open=", 5) == 0) {
        to = &settings->open_ms;
        number = ngx_parse_time(&text, 0);
        least = 100;
        most = 60000;

    } else {
        return NGX_ERROR;
    }

    if (*to != 0 || number < least || number > most) {
        return NGX_ERROR;
    }

    *to = number;

    return NGX_OK;
}


/* As ngx_conf_set_enum_slot(), but it says what may stand there. */

static char *
ngx_http_sluice_enum(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    u_char           *p, *last, known[128];
    ngx_str_t        *value = static_cast<ngx_str_t *>(cf->args->elts);
    ngx_uint_t        i, *field;
    ngx_conf_enum_t  *e = static_cast<ngx_conf_enum_t *>(cmd->post);

    field = reinterpret_cast<ngx_uint_t *>(static_cast<char *>(conf) + cmd->offset);

    if (*field != NGX_CONF_UNSET_UINT) {
        return const_cast<char *>("is duplicate");
    }

    p = known;
    last = known + sizeof(known);

    for (i = 0; e[i].name.len != 0; i++) {
        if (e[i].name.len == value[1].len
            && ngx_strncmp(e[i].name.data, value[1].data, value[1].len) == 0)
        {
            *field = e[i].value;
            return NGX_CONF_OK;
        }

        p = ngx_slprintf(p, last, "%s\"%V\"",
                         i == 0 ? "" : e[i + 1].name.len != 0 ? ", " : " or ", &e[i].name);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid value \"%V\" of \"%V\": it must be %*s",
                       &value[1], &cmd->name, static_cast<size_t>(p - known), known);

    return static_cast<char *>(NGX_CONF_ERROR);
}


/* For sizes and times alike: both are unsigned words. */

static char *
ngx_http_sluice_check_positive(ngx_conf_t *cf, void *post, void *data)
{
    static_assert(sizeof(size_t) == sizeof(ngx_msec_t), "one check serves both");

    if (*static_cast<size_t *>(data) == 0) {
        return const_cast<char *>("must be above 0");
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_sluice_check_inflated(ngx_conf_t *cf, void *post, void *data)
{
    size_t  size = *static_cast<size_t *>(data);

    if (size == 0 || size > NGX_HTTP_SLUICE_INFLATED_MAX) {
        return const_cast<char *>("must be above 0, and 1g at most");
    }

    return NGX_CONF_OK;
}

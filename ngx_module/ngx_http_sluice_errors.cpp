#include "ngx_http_sluice_errors.hpp"


using sluice::BreakerReason;


const ngx_str_t  ngx_http_sluice_redis_error_names[] = {
    ngx_string("OOM"),
    ngx_string("READONLY"),
    ngx_string("LOADING"),
    ngx_string("MISCONF"),
    ngx_string("NOAUTH"),
    ngx_string("WRONGPASS"),
    ngx_string("NOPERM"),
    ngx_string("WRONGTYPE"),
    ngx_string("MASTERDOWN"),
    ngx_string("NOREPLICAS"),
    ngx_string("BUSY"),
    ngx_string("CLUSTER"),
    ngx_string("other")
};


const ngx_http_sluice_error_meaning_t  ngx_http_sluice_error_meanings[] = {
    { NGX_HTTP_SLUICE_REDIS_FULL, 0, BreakerReason::kOom },          /* OOM */
    { NGX_HTTP_SLUICE_REDIS_AWAY, 1, BreakerReason::kReadonly },     /* READONLY: not the master */
    { NGX_HTTP_SLUICE_REDIS_AWAY, 0, BreakerReason::kRefused },      /* LOADING */
    { NGX_HTTP_SLUICE_REDIS_REFUSED, 0, BreakerReason::kMisconf },   /* MISCONF: its disk */
    { NGX_HTTP_SLUICE_REDIS_REFUSED, 1, BreakerReason::kRefused },   /* NOAUTH: another user */
    { NGX_HTTP_SLUICE_REDIS_REFUSED, 1, BreakerReason::kRefused },   /* WRONGPASS */
    { NGX_HTTP_SLUICE_REDIS_REFUSED, 0, BreakerReason::kRefused },   /* NOPERM */
    { NGX_HTTP_SLUICE_REDIS_REFUSED, 0, BreakerReason::kFailures },  /* WRONGTYPE */
    { NGX_HTTP_SLUICE_REDIS_AWAY, 1, BreakerReason::kRefused },      /* MASTERDOWN */
    { NGX_HTTP_SLUICE_NOT_DURABLE, 0, BreakerReason::kRefused },     /* NOREPLICAS */
    { NGX_HTTP_SLUICE_REDIS_AWAY, 0, BreakerReason::kRefused },      /* BUSY: a script runs */
    { NGX_HTTP_SLUICE_REDIS_REFUSED, 0, BreakerReason::kRefused },   /* CLUSTER */
    { NGX_HTTP_SLUICE_REDIS_REFUSED, 0, BreakerReason::kFailures },  /* all others */
};

static_assert(sizeof(ngx_http_sluice_error_meanings) / sizeof(ngx_http_sluice_error_meanings[0])
                  == NGX_HTTP_SLUICE_ERRORS,
              "a meaning for every error");


ngx_uint_t
ngx_http_sluice_redis_error(std::string_view text)
{
    const std::string_view  word = text.substr(0, text.find(' '));

    for (ngx_uint_t i = 0; i < NGX_HTTP_SLUICE_ERROR_CLUSTER; i++) {
        if (word == ngx_http_sluice_view(ngx_http_sluice_redis_error_names[i])) {
            return i;
        }
    }

    if (word == "MOVED" || word == "ASK" || word == "TRYAGAIN" || word == "CLUSTERDOWN"
        || word == "CROSSSLOT")
    {
        return NGX_HTTP_SLUICE_ERROR_CLUSTER;
    }

    return NGX_HTTP_SLUICE_ERROR_OTHER;
}

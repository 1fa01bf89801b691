/*
 * "sluice_shed": the watermarks, and what a full backlog is.
 */

#include "ngx_http_sluice_shed.hpp"

#include "common/decimal.hpp"


#define NGX_HTTP_SLUICE_PERCENT  (sluice::kPressureWhole / 100)


static uint32_t *ngx_http_sluice_shed_mark(ngx_http_sluice_shed_conf_t *shed,
    std::string_view name);
static ngx_int_t ngx_http_sluice_shed_percent(std::string_view text, uint32_t *parts);
static char *ngx_http_sluice_shed_check(ngx_conf_t *cf, const ngx_http_sluice_shed_conf_t *shed);


char *
ngx_http_sluice_shed_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    size_t                        equals;
    uint32_t                     *mark;
    uint64_t                     *size;
    ngx_int_t                     rc;
    ngx_str_t                    *value, text;
    std::string_view              name;
    ngx_http_sluice_shed_conf_t  *shed;

    shed = &static_cast<ngx_http_sluice_main_conf_t *>(conf)->shed;
    value = static_cast<ngx_str_t *>(cf->args->elts);

    if (shed->on != NGX_CONF_UNSET_UINT) {
        return const_cast<char *>("is duplicate");
    }

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        shed->on = 0;
        return NGX_CONF_OK;
    }

    shed->on = 1;

    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {

        name = ngx_http_sluice_view(value[i]);
        equals = name.find('=');

        rc = NGX_ERROR;

        if (equals != std::string_view::npos) {
            text.data = value[i].data + equals + 1;
            text.len = value[i].len - equals - 1;
            name = name.substr(0, equals);

            mark = ngx_http_sluice_shed_mark(shed, name);
            size = name == "records" ? &shed->records : name == "bytes" ? &shed->bytes : NULL;

            if (mark) {
                rc = ngx_http_sluice_shed_percent(ngx_http_sluice_view(text), mark);

            } else if (size && *size == 0) {
                const off_t  n = size == &shed->records ? ngx_atoof(text.data, text.len)
                                                        : ngx_parse_offset(&text);
                if (n > 0) {
                    *size = n;
                    rc = NGX_OK;
                }
            }
        }

        if (rc != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"%V\": it takes \"off\", or a "
                               "watermark for each level, as in DEBUG=60%%, hysteresis=PERCENT%%, "
                               "records=NUMBER and bytes=SIZE", &value[i], &cmd->name);
            return static_cast<char *>(NGX_CONF_ERROR);
        }
    }

    return ngx_http_sluice_shed_check(cf, shed);
}


static uint32_t *
ngx_http_sluice_shed_mark(ngx_http_sluice_shed_conf_t *shed, std::string_view name)
{
    if (name == "hysteresis") {
        return &shed->marks.hysteresis;
    }

    for (ngx_uint_t i = 0; i < sluice::kLevelCount; i++) {
        if (name == sluice::kLevelNames[i]) {
            return &shed->marks.level[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_sluice_shed_percent(std::string_view text, uint32_t *parts)
{
    uint32_t  percent;

    if (text.empty() || text.back() != '%'
        || !sluice::parse_decimal(text.substr(0, text.size() - 1), 100, &percent))
    {
        return NGX_ERROR;
    }

    *parts = percent * NGX_HTTP_SLUICE_PERCENT;

    return NGX_OK;
}


static char *
ngx_http_sluice_shed_check(ngx_conf_t *cf, const ngx_http_sluice_shed_conf_t *shed)
{
    ngx_str_t                 level, next;
    const sluice::ShedMarks  &marks = shed->marks;

    for (ngx_uint_t i = 0; i + 1 < sluice::kLevelCount; i++) {
        if (marks.level[i] < marks.level[i + 1]) {
            continue;
        }

        level = ngx_http_sluice_str(sluice::kLevelNames[i]);
        next = ngx_http_sluice_str(sluice::kLevelNames[i + 1]);
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "watermarks of \"sluice_shed\" must rise with the level: that of %V "
                           "(%uD%%) is not below that of %V (%uD%%)", &level,
                           marks.level[i] / NGX_HTTP_SLUICE_PERCENT, &next,
                           marks.level[i + 1] / NGX_HTTP_SLUICE_PERCENT);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    if (marks.level[0] == 0 || marks.hysteresis >= marks.level[0]) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "hysteresis of \"sluice_shed\" (%uD%%) must be below the first "
                           "watermark (%uD%%), which must be 1%% at least",
                           marks.hysteresis / NGX_HTTP_SLUICE_PERCENT,
                           marks.level[0] / NGX_HTTP_SLUICE_PERCENT);
        return static_cast<char *>(NGX_CONF_ERROR);
    }

    return NGX_CONF_OK;
}

#include "ngx_http_sluice_log.hpp"


#define NGX_HTTP_SLUICE_LOG_LINES  3  /* a second */


typedef struct {
    ngx_msec_t  since;
    ngx_uint_t  lines;
    ngx_uint_t  left_out;
} ngx_http_sluice_log_state_t;


static ngx_http_sluice_log_state_t  ngx_http_sluice_log_states[NGX_HTTP_SLUICE_LOG_KINDS];


ngx_uint_t
ngx_http_sluice_log_allowed(ngx_http_sluice_log_kind_e kind)
{
    ngx_http_sluice_log_state_t  *state = &ngx_http_sluice_log_states[kind];

    if (state->lines == 0 || ngx_current_msec - state->since >= 1000) {

        if (state->left_out) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "%ui lines like the next one were left out", state->left_out);
        }

        state->since = ngx_current_msec;
        state->lines = 0;
        state->left_out = 0;
    }

    if (state->lines == NGX_HTTP_SLUICE_LOG_LINES) {
        state->left_out++;
        return 0;
    }

    state->lines++;

    return 1;
}

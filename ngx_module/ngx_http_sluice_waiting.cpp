#include "ngx_http_sluice_waiting.hpp"

#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_gate.hpp"


void
ngx_http_sluice_waiting_enter(ngx_http_sluice_waiting_t *waiting, ngx_queue_t *queue,
    ngx_http_sluice_ctx_t *ctx)
{
    ngx_queue_insert_tail(queue, &ctx->queue);

    ctx->waiting = 1;
    waiting->requests++;
    waiting->bytes += ngx_http_sluice_waiting_bytes(ctx);

    ngx_http_sluice_worker.counters->inflight_requests = waiting->requests;
    ngx_http_sluice_worker.counters->inflight_bytes = waiting->bytes;

    if (!waiting->overdue.timer_set) {
        ngx_add_timer(&waiting->overdue, waiting->timeout);
    }
}


void
ngx_http_sluice_waiting_leave(ngx_http_sluice_waiting_t *waiting, ngx_http_sluice_ctx_t *ctx)
{
    ngx_queue_remove(&ctx->queue);

    ctx->waiting = 0;
    waiting->requests--;
    waiting->bytes -= ngx_http_sluice_waiting_bytes(ctx);

    ngx_http_sluice_worker.counters->inflight_requests = waiting->requests;
    ngx_http_sluice_worker.counters->inflight_bytes = waiting->bytes;

    /* with somebody left it only looks again too early; with nobody it must not hold the worker */
    if (waiting->requests == 0 && waiting->overdue.timer_set) {
        ngx_del_timer(&waiting->overdue);
    }
}


ngx_uint_t
ngx_http_sluice_waiting_reserve(ngx_http_sluice_waiting_t *waiting, size_t bytes,
    size_t bytes_max)
{
    if (waiting->bytes + bytes > bytes_max) {
        return 0;
    }

    waiting->bytes += bytes;
    ngx_http_sluice_worker.counters->inflight_bytes = waiting->bytes;

    return 1;
}


void
ngx_http_sluice_waiting_release(ngx_http_sluice_waiting_t *waiting, size_t bytes)
{
    waiting->bytes -= bytes;
    ngx_http_sluice_worker.counters->inflight_bytes = waiting->bytes;
}


void
ngx_http_sluice_waiting_refuse(ngx_http_sluice_waiting_t *waiting, ngx_queue_t *queue,
    ngx_http_sluice_trouble_e trouble)
{
    ngx_http_sluice_ctx_t  *ctx;

    while (!ngx_queue_empty(queue)) {
        ctx = ngx_http_sluice_first(queue);
        ngx_http_sluice_waiting_leave(waiting, ctx);
        if (trouble != NGX_HTTP_SLUICE_OUTCOME_UNKNOWN) {
            ngx_http_sluice_gate_give_back(ctx);
        }
        ngx_http_sluice_answer_finish(ctx->request,
                                      ngx_http_sluice_answer_trouble(ctx->request, trouble));
    }
}


ngx_http_sluice_ctx_t *
ngx_http_sluice_first(const ngx_queue_t *queue)
{
    ngx_queue_t  *q = ngx_queue_head(queue);

    return ngx_queue_data(q, ngx_http_sluice_ctx_t, queue);
}


ngx_uint_t
ngx_http_sluice_is_past(ngx_msec_t deadline)
{
    return static_cast<ngx_msec_int_t>(ngx_current_msec - deadline) >= 0;
}

#include "ngx_http_sluice_hold.hpp"

#include "ngx_http_sluice_commit.hpp"
#include "ngx_http_sluice_gate.hpp"


static void ngx_http_sluice_hold_release(ngx_event_t *ev);


ngx_int_t
ngx_http_sluice_hold(ngx_http_sluice_waiting_t *waiting, ngx_queue_t *queue,
    ngx_http_sluice_ctx_t *ctx)
{
    u_char              *p;
    ngx_event_t         *hold;
    ngx_http_request_t  *r = ctx->request;
    ngx_event_t         *rev = r->connection->read;
    std::string_view    &rows = ctx->held_rows;

    p = static_cast<u_char *>(ngx_pnalloc(r->pool, rows.size()));
    hold = static_cast<ngx_event_t *>(ngx_pcalloc(r->pool, sizeof(ngx_event_t)));

    if (p == NULL || hold == NULL) {
        ngx_http_sluice_gate_give_back(ctx);
        return ngx_http_sluice_answer_trouble(r, NGX_HTTP_SLUICE_NO_MEMORY);
    }

    ngx_memcpy(p, rows.data(), rows.size());
    rows = std::string_view(reinterpret_cast<char *>(p), rows.size());

    /* not cancelable: a worker that is to leave waits for those who wait here */
    hold->handler = ngx_http_sluice_hold_release;
    hold->data = ctx;
    hold->log = ngx_cycle->log;
    ctx->hold = hold;

    ngx_http_sluice_waiting_enter(waiting, queue, ctx);
    ngx_add_timer(hold, ctx->hold_ms);

    /* a client that left right behind its body has told that already */
    if (r->http_version < NGX_HTTP_VERSION_20 && rev->ready && !rev->posted) {
        ngx_post_event(rev, &ngx_posted_events);
    }

    return NGX_DONE;
}


static void
ngx_http_sluice_hold_release(ngx_event_t *ev)
{
    ngx_int_t                   rc;
    ngx_http_sluice_ctx_t      *ctx = static_cast<ngx_http_sluice_ctx_t *>(ev->data);
    ngx_http_sluice_trouble_e   trouble;

    ctx->hold_ms = 0;
    ngx_http_sluice_commit_leave(ngx_http_sluice_worker.commit, ctx);

    trouble = ngx_http_sluice_gate_held(ctx);

    if (trouble != NGX_HTTP_SLUICE_TROUBLES) {
        ngx_http_sluice_gate_give_back(ctx);
        rc = ngx_http_sluice_answer_trouble(ctx->request, trouble);

    } else {
        rc = ngx_http_sluice_commit_submit(ngx_http_sluice_worker.commit, ctx);
    }

    if (rc != NGX_DONE) {
        ngx_http_sluice_answer_finish(ctx->request, rc);
    }
}


void
ngx_http_sluice_hold_drop(ngx_http_sluice_ctx_t *ctx)
{
    if (ctx->hold && ctx->hold->timer_set) {
        ngx_del_timer(ctx->hold);
    }
}

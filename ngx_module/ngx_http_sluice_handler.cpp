/*
 * A location with "sluice log" or "sluice batch": from the request's header to its body in one
 * piece, inflated if need be, which the group commit then takes over.
 */

#include "ngx_http_sluice_handler.hpp"

#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_commit.hpp"
#include "ngx_http_sluice_frame.hpp"
#include "ngx_http_sluice_gate.hpp"
#include "ngx_http_sluice_header.hpp"
#include "ngx_http_sluice_inflate.hpp"
#include "ngx_http_sluice_key.hpp"
#include "ngx_http_sluice_turn.hpp"


#define NGX_HTTP_SLUICE_PIECES_MIN    (16 * 1024)

/*
 * Of a chunk of one byte there are six on the wire. What is this many times as long as the largest
 * body is extensions of chunks and zeros before their sizes, which nginx would read for ever.
 */
#define NGX_HTTP_SLUICE_FRAMING_MAX   8
#define NGX_HTTP_SLUICE_FRAMING_FREE  (64 * 1024)

/* What nginx reads in one go: each chunk in it takes 100 bytes of memory until it is read. */
#define NGX_HTTP_SLUICE_READ_MAX      (64 * 1024)


static void ngx_http_sluice_body_handler(ngx_http_request_t *r);
static void ngx_http_sluice_pieces_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_pieces_read(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_gather(ngx_http_sluice_ctx_t *ctx, ngx_chain_t *in);
static void ngx_http_sluice_body_read(ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_cleanup(void *data);


ngx_int_t
ngx_http_sluice_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    std::string_view            detail;
    ngx_http_cleanup_t         *cln;
    ngx_http_sluice_ctx_t      *ctx;
    ngx_http_sluice_trouble_e   trouble;

    ctx = static_cast<ngx_http_sluice_ctx_t *>(
        ngx_pcalloc(r->pool, sizeof(ngx_http_sluice_ctx_t)));
    cln = ngx_http_cleanup_add(r, 0);

    if (ctx == NULL || cln == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ctx->request = r;
    ctx->conf = static_cast<ngx_http_sluice_loc_conf_t *>(
        ngx_http_get_module_loc_conf(r, ngx_http_sluice_module));

    cln->handler = ngx_http_sluice_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_sluice_module);

    trouble = ngx_http_sluice_header_read(ctx, &detail);

    if (trouble == NGX_HTTP_SLUICE_TROUBLES) {
        trouble = ngx_http_sluice_gate_request(ctx);
    }

    if (trouble != NGX_HTTP_SLUICE_TROUBLES) {
        rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) {
            return rc;
        }

        return detail.empty() ? ngx_http_sluice_answer_trouble(r, trouble)
                              : ngx_http_sluice_answer_trouble_detail(r, trouble, detail);
    }

    if (r->headers_in.content_length_n >= 0 && !r->headers_in.chunked) {
        r->request_body_in_single_buf = 1;
        rc = ngx_http_read_client_request_body(r, ngx_http_sluice_body_handler);

    } else {
        /*
         * nginx would put a body of unknown length into a file as soon as what frames it and what
         * it holds fill the buffer together; so it is taken out of the buffer as it comes
         */
        r->request_body_no_buffering = 1;
        rc = ngx_http_read_client_request_body(r, ngx_http_sluice_pieces_handler);
    }

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/* A body of known length is all there. */

static void
ngx_http_sluice_body_handler(ngx_http_request_t *r)
{
    ngx_int_t               rc = NGX_OK;
    ngx_buf_t              *b;
    ngx_chain_t            *cl;
    ngx_http_sluice_ctx_t  *ctx;

    ctx = static_cast<ngx_http_sluice_ctx_t *>(
        ngx_http_get_module_ctx(r, ngx_http_sluice_module));

    cl = r->request_body ? r->request_body->bufs : NULL;

    if (cl && cl->next == NULL && !cl->buf->in_file) {
        b = cl->buf;
        ctx->body = std::string_view(reinterpret_cast<char *>(b->pos), b->last - b->pos);

    } else {
        rc = ngx_http_sluice_gather(ctx, cl);
    }

    if (rc != NGX_OK) {
        rc = ngx_http_sluice_answer_trouble(r, rc == NGX_DECLINED
                                               ? NGX_HTTP_SLUICE_BODY_TOO_LARGE
                                               : NGX_HTTP_SLUICE_NO_MEMORY);
        ngx_http_finalize_request(r, rc);
        return;
    }

    ngx_http_sluice_body_read(ctx);
}


/* A body of unknown length, piece by piece; nginx holds it to client_max_body_size. */

static void
ngx_http_sluice_pieces_handler(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_chain_t            *in;
    ngx_http_sluice_ctx_t  *ctx;

    ctx = static_cast<ngx_http_sluice_ctx_t *>(
        ngx_http_get_module_ctx(r, ngx_http_sluice_module));

    if (r->request_body == NULL || !r->request_body_no_buffering) {
        /* there is none, or someone read it before, for whom it must stay as it is */
        ngx_http_sluice_body_handler(r);
        return;
    }

    for ( ;; ) {
        in = r->request_body->bufs;
        r->request_body->bufs = NULL;

        if (ngx_http_sluice_gather(ctx, in) != NGX_OK) {
            rc = ngx_http_sluice_answer_trouble(r, NGX_HTTP_SLUICE_NO_MEMORY);
            ngx_http_finalize_request(r, rc);
            return;
        }

        for ( /* void */ ; in; in = in->next) {
            in->buf->pos = in->buf->last;
        }

        if (!r->reading_body) {
            ngx_http_sluice_body_read(ctx);
            return;
        }

        rc = ngx_http_sluice_pieces_read(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            r->read_event_handler = ngx_http_sluice_pieces_handler;
            return;
        }
    }
}


/*
 * As ngx_http_read_unbuffered_request_body(), but no more than a turn should take, and not for
 * ever; of HTTP/2 nginx sees to that itself.
 */

static ngx_int_t
ngx_http_sluice_pieces_read(ngx_http_request_t *r)
{
    uint64_t                   since_us;
    ngx_int_t                  rc;
    ngx_buf_t                 *b = r->request_body->buf;
    ngx_event_t               *rev = r->connection->read;
    ngx_http_core_loc_conf_t  *clcf;

    if (r->http_version >= NGX_HTTP_VERSION_20) {
        return ngx_http_read_unbuffered_request_body(r);
    }

    clcf = static_cast<ngx_http_core_loc_conf_t *>(
        ngx_http_get_module_loc_conf(r, ngx_http_core_module));

    if (ngx_http_sluice_turn_is_over(ngx_http_sluice_worker.reading)) {
        /* nginx lets a worker leave that has no timer, whatever is posted */
        if (!rev->timer_set) {
            ngx_add_timer(rev, clcf->client_body_timeout);
        }

        ngx_post_event(rev, &ngx_posted_next_events);
        return NGX_AGAIN;
    }

    /* nginx has made it as large as a body may be */
    if (b && b->pos == b->last && b->end - b->start > NGX_HTTP_SLUICE_READ_MAX) {
        b->pos = b->start;
        b->last = b->start;
        b->end = b->start + NGX_HTTP_SLUICE_READ_MAX;
    }

    since_us = ngx_http_sluice_now_us();
    rc = ngx_http_read_unbuffered_request_body(r);
    (void) ngx_http_sluice_turn_charge(ngx_http_sluice_worker.reading, since_us);

    if (rc == NGX_AGAIN && clcf->client_max_body_size
        && r->request_length > NGX_HTTP_SLUICE_FRAMING_MAX * clcf->client_max_body_size
                               + NGX_HTTP_SLUICE_FRAMING_FREE)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "client intended to send too much between the chunks of its body: "
                      "%O bytes so far", r->request_length);

        r->lingering_close = 1;
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    return rc;
}


/* Adds a chain to the body. NGX_DECLINED: nginx has put it into a file. */

static ngx_int_t
ngx_http_sluice_gather(ngx_http_sluice_ctx_t *ctx, ngx_chain_t *in)
{
    size_t        size, used = ctx->body.size();
    u_char       *p;
    ngx_buf_t    *b;
    ngx_pool_t   *pool = ctx->request->pool;

    for ( /* void */ ; in; in = in->next) {
        b = in->buf;

        if (b->in_file) {
            return NGX_DECLINED;
        }

        size = b->last - b->pos;

        if (used + size > ctx->room) {
            ctx->room = ngx_max(used + size, 2 * ctx->room);
            ctx->room = ngx_max(ctx->room, NGX_HTTP_SLUICE_PIECES_MIN);

            p = static_cast<u_char *>(ngx_pnalloc(pool, ctx->room));
            if (p == NULL) {
                return NGX_ERROR;
            }

            if (ctx->gathered) {
                ngx_memcpy(p, ctx->gathered, used);
                (void) ngx_pfree(pool, ctx->gathered);
            }
            ctx->gathered = p;
        }

        if (size) {
            ngx_memcpy(ctx->gathered + used, b->pos, size);
            used += size;
        }
    }

    ctx->body = std::string_view(reinterpret_cast<char *>(ctx->gathered), used);

    return NGX_OK;
}


/* The body is there as it was sent. */

static void
ngx_http_sluice_body_read(ngx_http_sluice_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r = ctx->request;

    if (ngx_http_sluice_key_begin(ctx) != NGX_OK) {
        rc = ngx_http_sluice_answer_trouble(r, NGX_HTTP_SLUICE_NO_MEMORY);

    } else if (ctx->coding != sluice::Coding::kIdentity) {
        rc = ngx_http_sluice_inflate_body(ngx_http_sluice_worker.inflate, ctx);

    } else if (ngx_http_sluice_key_add(ctx, ctx->body) != NGX_OK) {
        rc = ngx_http_sluice_answer_trouble(r, NGX_HTTP_SLUICE_NO_MEMORY);

    } else {
        rc = ngx_http_sluice_submit(ctx);
    }

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    /* while it waits, a client that goes away is to be seen */
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;
}


ngx_int_t
ngx_http_sluice_submit(ngx_http_sluice_ctx_t *ctx)
{
    ngx_http_sluice_trouble_e  trouble = ngx_http_sluice_gate_body(ctx);

    if (trouble == NGX_HTTP_SLUICE_TROUBLES && ngx_http_sluice_key_end(ctx) != NGX_OK) {
        trouble = NGX_HTTP_SLUICE_NO_MEMORY;
    }

    if (trouble != NGX_HTTP_SLUICE_TROUBLES) {
        return ngx_http_sluice_answer_trouble(ctx->request, trouble);
    }

    return ngx_http_sluice_commit_submit(ngx_http_sluice_worker.commit, ctx);
}


static void
ngx_http_sluice_cleanup(void *data)
{
    ngx_http_sluice_ctx_t  *ctx = static_cast<ngx_http_sluice_ctx_t *>(data);

    ngx_http_sluice_commit_abandon(ngx_http_sluice_worker.commit, ctx);
    ngx_http_sluice_inflate_drop(ngx_http_sluice_worker.inflate, ctx);
    ngx_http_sluice_key_drop(ctx);
}

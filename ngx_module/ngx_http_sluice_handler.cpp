/*
 * A location with "sluice log" or "sluice batch": from the request's header to its body in one
 * piece, which the group commit then takes over.
 */

#include "ngx_http_sluice_handler.hpp"

#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_commit.hpp"


static ngx_uint_t ngx_http_sluice_is_json(ngx_http_request_t *r);
static ngx_table_elt_t *ngx_http_sluice_find_header(ngx_http_request_t *r, const char *name,
    size_t len);
static void ngx_http_sluice_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_join_body(ngx_http_request_t *r, std::string_view *body);
static void ngx_http_sluice_cleanup(void *data);


ngx_int_t
ngx_http_sluice_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_table_elt_t            *encoding;
    ngx_http_sluice_trouble_e   trouble;

    encoding = ngx_http_sluice_find_header(r, "Content-Encoding",
                                           sizeof("Content-Encoding") - 1);

    if (r->method != NGX_HTTP_POST) {
        trouble = NGX_HTTP_SLUICE_WRONG_METHOD;

    } else if (!ngx_http_sluice_is_json(r)) {
        trouble = NGX_HTTP_SLUICE_WRONG_TYPE;

    } else if (encoding && (encoding->value.len != 8
                            || ngx_strncasecmp(encoding->value.data,
                                               reinterpret_cast<u_char *>(
                                                   const_cast<char *>("identity")), 8) != 0))
    {
        trouble = NGX_HTTP_SLUICE_WRONG_ENCODING;

    } else {
        r->request_body_in_single_buf = 1;

        rc = ngx_http_read_client_request_body(r, ngx_http_sluice_body_handler);

        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_sluice_answer_trouble(r, trouble);
}


/* application/json or application/...+json, in UTF-8; without a type it is taken for JSON. */

static ngx_uint_t
ngx_http_sluice_is_json(ngx_http_request_t *r)
{
    size_t      len;
    u_char     *p, *last;
    ngx_str_t  *type;

    if (r->headers_in.content_type == NULL) {
        return 1;
    }

    type = &r->headers_in.content_type->value;
    last = type->data + type->len;

    p = ngx_strlchr(type->data, last, ';');
    len = (p ? p : last) - type->data;

    while (len && type->data[len - 1] == ' ') {
        len--;
    }

    if (len < 16 || ngx_strncasecmp(type->data, reinterpret_cast<u_char *>(
                                    const_cast<char *>("application/")), 12) != 0
        || ngx_strncasecmp(type->data + len - 4, reinterpret_cast<u_char *>(
                           const_cast<char *>("json")), 4) != 0
        || (len != 16 && type->data[len - 5] != '+'))
    {
        return 0;
    }

    if (p == NULL) {
        return 1;
    }

    p = ngx_strlcasestrn(p, last, reinterpret_cast<u_char *>(const_cast<char *>("charset=")),
                         sizeof("charset=") - 2);
    if (p == NULL) {
        return 1;
    }

    p += sizeof("charset=") - 1;
    if (p < last && *p == '"') {
        p++;
    }

    return last - p >= 5
           && ngx_strncasecmp(p, reinterpret_cast<u_char *>(const_cast<char *>("utf-8")), 5) == 0;
}


static ngx_table_elt_t *
ngx_http_sluice_find_header(ngx_http_request_t *r, const char *name, size_t len)
{
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = static_cast<ngx_table_elt_t *>(part->elts);

        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (header[i].key.len == len
                && ngx_strncasecmp(header[i].key.data, reinterpret_cast<u_char *>(
                                       const_cast<char *>(name)), len) == 0)
            {
                return &header[i];
            }
        }
    }

    return NULL;
}


static void
ngx_http_sluice_body_handler(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_http_cleanup_t    *cln;
    ngx_http_sluice_ctx_t *ctx;

    ctx = static_cast<ngx_http_sluice_ctx_t *>(
        ngx_pcalloc(r->pool, sizeof(ngx_http_sluice_ctx_t)));
    cln = ngx_http_cleanup_add(r, 0);

    if (ctx == NULL || cln == NULL) {
        ngx_http_finalize_request(r, ngx_http_sluice_answer_trouble(r,
                                                                    NGX_HTTP_SLUICE_NO_MEMORY));
        return;
    }

    ctx->request = r;
    ctx->conf = static_cast<ngx_http_sluice_loc_conf_t *>(
        ngx_http_get_module_loc_conf(r, ngx_http_sluice_module));

    cln->handler = ngx_http_sluice_cleanup;
    cln->data = ctx;

    rc = ngx_http_sluice_join_body(r, &ctx->body);
    if (rc == NGX_OK) {
        rc = ngx_http_sluice_commit_submit(ngx_http_sluice_worker.commit, ctx);

    } else {
        rc = ngx_http_sluice_answer_trouble(r, rc == NGX_DECLINED
                                               ? NGX_HTTP_SLUICE_BODY_TOO_LARGE
                                               : NGX_HTTP_SLUICE_NO_MEMORY);
    }

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    /* while it waits, a client that goes away is to be seen */
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;
}


/* The body in one piece; most often it is in one already. NGX_DECLINED if nginx put it in a file. */

static ngx_int_t
ngx_http_sluice_join_body(ngx_http_request_t *r, std::string_view *body)
{
    size_t        size = 0;
    u_char       *p;
    ngx_chain_t  *cl;

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        if (cl->buf->in_file) {
            return NGX_DECLINED;
        }
        size += cl->buf->last - cl->buf->pos;
    }

    cl = r->request_body->bufs;

    if (cl->next == NULL) {
        *body = std::string_view(reinterpret_cast<char *>(cl->buf->pos), size);
        return NGX_OK;
    }

    p = static_cast<u_char *>(ngx_pnalloc(r->pool, size));
    if (p == NULL) {
        return NGX_ERROR;
    }

    *body = std::string_view(reinterpret_cast<char *>(p), size);

    for ( /* void */ ; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    return NGX_OK;
}


static void
ngx_http_sluice_cleanup(void *data)
{
    ngx_http_sluice_commit_abandon(ngx_http_sluice_worker.commit,
                                   static_cast<ngx_http_sluice_ctx_t *>(data));
}

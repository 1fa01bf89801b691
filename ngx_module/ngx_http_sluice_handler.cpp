/*
 * A location with "sluice log" or "sluice batch": from the request's header to its body in one
 * piece, which the group commit then takes over.
 */

#include "ngx_http_sluice_handler.hpp"

#include <openssl/evp.h>

#include "ngx_http_sluice_answer.hpp"
#include "ngx_http_sluice_commit.hpp"


#define NGX_HTTP_SLUICE_KEY_MAX      255
#define NGX_HTTP_SLUICE_PIECES_MIN   (16 * 1024)


static ngx_uint_t ngx_http_sluice_check_header(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_trouble_e *trouble);
static ngx_uint_t ngx_http_sluice_is_json(const ngx_str_t &type);
static ngx_uint_t ngx_http_sluice_is_early(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_read_key(ngx_http_request_t *r, ngx_str_t *key);
static ngx_table_elt_t *ngx_http_sluice_find_header(ngx_http_request_t *r, std::string_view name,
    ngx_uint_t *count);
static void ngx_http_sluice_body_handler(ngx_http_request_t *r);
static void ngx_http_sluice_pieces_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_gather(ngx_http_sluice_ctx_t *ctx, ngx_chain_t *in);
static void ngx_http_sluice_submit(ngx_http_sluice_ctx_t *ctx);
static ngx_int_t ngx_http_sluice_make_key_id(ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_cleanup(void *data);


static ngx_uint_t
ngx_http_sluice_equal_nocase(std::string_view a, std::string_view b)
{
    return a.size() == b.size()
           && ngx_strncasecmp(ngx_http_sluice_str(a).data, ngx_http_sluice_str(b).data, a.size())
              == 0;
}


ngx_int_t
ngx_http_sluice_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
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
    ctx->shape = ctx->conf->ingest == NGX_HTTP_SLUICE_LOG ? sluice::BodyShape::kRecord
                                                          : sluice::BodyShape::kBatch;

    cln->handler = ngx_http_sluice_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_sluice_module);

    if (!ngx_http_sluice_check_header(r, ctx, &trouble)) {
        rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) {
            return rc;
        }

        return ngx_http_sluice_answer_trouble(r, trouble);
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


/* Everything that can be said before the body is there. */

static ngx_uint_t
ngx_http_sluice_check_header(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx,
    ngx_http_sluice_trouble_e *trouble)
{
    ngx_int_t         rc;
    ngx_str_t         key;
    ngx_table_elt_t  *encoding;

    if (r->method != NGX_HTTP_POST) {
        *trouble = NGX_HTTP_SLUICE_WRONG_METHOD;
        return 0;
    }

    if (ngx_http_sluice_is_early(r)) {
        *trouble = NGX_HTTP_SLUICE_EARLY_DATA;
        return 0;
    }

    /* without a type it is taken for JSON */
    if (r->headers_in.content_type
        && !ngx_http_sluice_is_json(r->headers_in.content_type->value))
    {
        *trouble = NGX_HTTP_SLUICE_WRONG_TYPE;
        return 0;
    }

    encoding = ngx_http_sluice_find_header(r, "Content-Encoding", NULL);
    if (encoding
        && !ngx_http_sluice_equal_nocase(ngx_http_sluice_view(encoding->value), "identity"))
    {
        *trouble = NGX_HTTP_SLUICE_WRONG_ENCODING;
        return 0;
    }

    rc = ngx_http_sluice_read_key(r, &key);
    if (rc == NGX_ERROR) {
        *trouble = NGX_HTTP_SLUICE_BAD_KEY;
        return 0;
    }

    ctx->keyed = rc == NGX_OK;

    return 1;
}


/* application/json or application/...+json, in UTF-8 */

static ngx_uint_t
ngx_http_sluice_is_json(const ngx_str_t &type)
{
    u_char            *charset;
    ngx_str_t          needle = ngx_string("charset=");
    std::string_view   text = ngx_http_sluice_view(type), name, value;

    name = text.substr(0, text.find(';'));
    while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) {
        name.remove_suffix(1);
    }

    if (!ngx_http_sluice_equal_nocase(name, "application/json")
        && (name.size() < 17
            || !ngx_http_sluice_equal_nocase(name.substr(0, 12), "application/")
            || !ngx_http_sluice_equal_nocase(name.substr(name.size() - 5), "+json")))
    {
        return 0;
    }

    charset = ngx_strlcasestrn(type.data + name.size(), type.data + type.len, needle.data,
                               needle.len - 1);
    if (charset == NULL) {
        return 1;
    }

    value = text.substr(charset - type.data + needle.len);
    value = value.substr(0, value.find_first_of("; \t"));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
        value = value.substr(1, value.size() - 2);
    }

    return ngx_http_sluice_equal_nocase(value, "utf-8")
           || ngx_http_sluice_equal_nocase(value, "utf8");
}


/* RFC 8470: what arrives before the handshake is complete may be a replay, here or further out. */

static ngx_uint_t
ngx_http_sluice_is_early(ngx_http_request_t *r)
{
    ngx_table_elt_t  *header;

#if (NGX_HTTP_SSL)
    if (r->connection->ssl && r->connection->ssl->in_early) {
        return 1;
    }
#endif

    header = ngx_http_sluice_find_header(r, "Early-Data", NULL);

    return header && ngx_http_sluice_view(header->value) == "1";
}


/* NGX_DECLINED: there is none. NGX_ERROR: it is no key, or there is more than one. */

static ngx_int_t
ngx_http_sluice_read_key(ngx_http_request_t *r, ngx_str_t *key)
{
    ngx_uint_t        count;
    ngx_table_elt_t  *header;

    header = ngx_http_sluice_find_header(r, "Idempotency-Key", &count);
    if (header == NULL) {
        return NGX_DECLINED;
    }

    *key = header->value;

    if (count > 1 || key->len == 0 || key->len > NGX_HTTP_SLUICE_KEY_MAX) {
        return NGX_ERROR;
    }

    for (size_t i = 0; i < key->len; i++) {
        if (key->data[i] < 0x20 || key->data[i] > 0x7e) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_table_elt_t *
ngx_http_sluice_find_header(ngx_http_request_t *r, std::string_view name, ngx_uint_t *count)
{
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header, *found = NULL;

    if (count) {
        *count = 0;
    }

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = static_cast<ngx_table_elt_t *>(part->elts);

        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (!ngx_http_sluice_equal_nocase(ngx_http_sluice_view(header[i].key), name)) {
                continue;
            }
            if (count == NULL) {
                return &header[i];
            }
            found = &header[i];
            ++*count;
        }
    }

    return found;
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

    ngx_http_sluice_submit(ctx);
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
            ngx_http_sluice_submit(ctx);
            return;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

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


static void
ngx_http_sluice_submit(ngx_http_sluice_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r = ctx->request;

    if (ctx->keyed && ngx_http_sluice_make_key_id(ctx) != NGX_OK) {
        rc = ngx_http_sluice_answer_trouble(r, NGX_HTTP_SLUICE_NO_MEMORY);

    } else {
        rc = ngx_http_sluice_commit_submit(ngx_http_sluice_worker.commit, ctx);
    }

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    /* while it waits, a client that goes away is to be seen */
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;
}


/*
 * The same key with the same body, sent again by the same principal, is the same frame; with
 * another body it is another one, so that nothing is swallowed, and nobody can claim the keys of
 * others. Lengths stand in front, so that no two triples read the same.
 */

static ngx_int_t
ngx_http_sluice_make_key_id(ngx_http_sluice_ctx_t *ctx)
{
    u_char               digest[EVP_MAX_MD_SIZE];
    uint64_t             lengths[2];
    ngx_uint_t           done;
    EVP_MD_CTX          *sha;
    ngx_str_t            key, principal = ngx_null_string;
    ngx_http_request_t  *r = ctx->request;

    if (ctx->conf->principal
        && ngx_http_complex_value(r, ctx->conf->principal, &principal) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_sluice_read_key(r, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    lengths[0] = principal.len;
    lengths[1] = key.len;

    sha = EVP_MD_CTX_new();
    if (sha == NULL) {
        return NGX_ERROR;
    }

    done = EVP_DigestInit_ex(sha, EVP_sha256(), NULL)
           && EVP_DigestUpdate(sha, lengths, sizeof(lengths))
           && EVP_DigestUpdate(sha, principal.data, principal.len)
           && EVP_DigestUpdate(sha, key.data, key.len)
           && EVP_DigestUpdate(sha, ctx->body.data(), ctx->body.size())
           && EVP_DigestFinal_ex(sha, digest, NULL);

    EVP_MD_CTX_free(sha);

    if (!done) {
        return NGX_ERROR;
    }

    ctx->key_id = sluice::keyed_producer_id(digest);

    return NGX_OK;
}


static void
ngx_http_sluice_cleanup(void *data)
{
    ngx_http_sluice_commit_abandon(ngx_http_sluice_worker.commit,
                                   static_cast<ngx_http_sluice_ctx_t *>(data));
}

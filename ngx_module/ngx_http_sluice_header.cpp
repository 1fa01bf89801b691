#include "ngx_http_sluice_header.hpp"


#define NGX_HTTP_SLUICE_KEY_MAX  255


static ngx_uint_t ngx_http_sluice_is_early(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_read_type(const ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);
static ngx_uint_t ngx_http_sluice_is_json(std::string_view name);
static ngx_uint_t ngx_http_sluice_is_utf8(const ngx_str_t &type);
static ngx_int_t ngx_http_sluice_read_encoding(ngx_http_request_t *r,
    ngx_http_sluice_ctx_t *ctx);
static void ngx_http_sluice_read_preferences(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx);
static ngx_int_t ngx_http_sluice_read_handling(std::string_view preferences,
    ngx_http_sluice_ctx_t *ctx);
static ngx_table_elt_t *ngx_http_sluice_find_header(ngx_http_request_t *r, std::string_view name,
    ngx_uint_t n = 0);


#define NGX_HTTP_SLUICE_JSON_TYPES  "application/json or application/...+json"

static constexpr std::string_view  ngx_http_sluice_log_types =
    "the Content-Type must be " NGX_HTTP_SLUICE_JSON_TYPES ", in UTF-8";

/* besides: the types of one record behind the other */
static constexpr std::string_view  ngx_http_sluice_batch_types =
    "the Content-Type must be " NGX_HTTP_SLUICE_JSON_TYPES ", or for a record a line "
    "application/x-ndjson, application/ndjson, application/jsonl, application/x-jsonlines or "
    "application/stream+json, in UTF-8";

static constexpr std::string_view  ngx_http_sluice_records_types[] = {
    "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
    "application/stream+json"
};


static ngx_uint_t
ngx_http_sluice_equal_nocase(std::string_view a, std::string_view b)
{
    return a.size() == b.size()
           && ngx_strncasecmp(ngx_http_sluice_str(a).data, ngx_http_sluice_str(b).data, a.size())
              == 0;
}


static std::string_view
ngx_http_sluice_unquote(std::string_view text)
{
    return text.size() >= 2 && text.front() == '"' && text.back() == '"'
           ? text.substr(1, text.size() - 2) : text;
}


ngx_http_sluice_trouble_e
ngx_http_sluice_header_read(ngx_http_sluice_ctx_t *ctx, std::string_view *detail)
{
    ngx_int_t            rc;
    ngx_str_t            key;
    ngx_http_request_t  *r = ctx->request;

    if (r->method != NGX_HTTP_POST) {
        return NGX_HTTP_SLUICE_WRONG_METHOD;
    }

    if (ngx_http_sluice_is_early(r)) {
        return NGX_HTTP_SLUICE_EARLY_DATA;
    }

    if (ngx_http_sluice_read_type(r, ctx) != NGX_OK) {
        *detail = ctx->conf->ingest == NGX_HTTP_SLUICE_LOG ? ngx_http_sluice_log_types
                                                           : ngx_http_sluice_batch_types;
        return NGX_HTTP_SLUICE_WRONG_TYPE;
    }

    if (ngx_http_sluice_read_encoding(r, ctx) != NGX_OK) {
        return NGX_HTTP_SLUICE_WRONG_ENCODING;
    }

    rc = ngx_http_sluice_header_key(r, &key);
    if (rc == NGX_ERROR) {
        return NGX_HTTP_SLUICE_BAD_KEY;
    }

    ctx->keyed = rc == NGX_OK;

    if (ctx->conf->ingest == NGX_HTTP_SLUICE_BATCH) {
        ctx->partial = ctx->conf->partial;
        ngx_http_sluice_read_preferences(r, ctx);
    }

    /* a key stands for the same records whenever it is sent, or the second answer were untrue */
    ctx->one_by_one = ctx->partial && !ctx->keyed;

    return NGX_HTTP_SLUICE_TROUBLES;
}


/*
 * Without a type it is taken for JSON. Not so text/plain: browsers send it anywhere without asking
 * first, so a page could write logs with whatever its visitor may reach.
 */

static ngx_int_t
ngx_http_sluice_read_type(const ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx)
{
    std::string_view        name;
    const ngx_table_elt_t  *type = r->headers_in.content_type;

    ctx->shape = ctx->conf->ingest == NGX_HTTP_SLUICE_LOG ? sluice::BodyShape::kRecord
                                                          : sluice::BodyShape::kBatch;

    if (type == NULL) {
        return NGX_OK;
    }

    name = ngx_http_sluice_view(type->value);
    name = name.substr(0, name.find(';'));
    while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) {
        name.remove_suffix(1);
    }

    if (!ngx_http_sluice_is_utf8(type->value)) {
        return NGX_DECLINED;
    }

    if (ctx->conf->ingest == NGX_HTTP_SLUICE_BATCH) {
        for (std::string_view records : ngx_http_sluice_records_types) {
            if (ngx_http_sluice_equal_nocase(name, records)) {
                ctx->shape = sluice::BodyShape::kRecords;
                return NGX_OK;
            }
        }

    } else if (ngx_http_sluice_equal_nocase(name, "application/stream+json")) {
        return NGX_DECLINED;
    }

    return ngx_http_sluice_is_json(name) ? NGX_OK : NGX_DECLINED;
}


/* application/json or application/...+json */

static ngx_uint_t
ngx_http_sluice_is_json(std::string_view name)
{
    return ngx_http_sluice_equal_nocase(name, "application/json")
           || (name.size() > sizeof("application/+json") - 1
               && ngx_http_sluice_equal_nocase(name.substr(0, 12), "application/")
               && ngx_http_sluice_equal_nocase(name.substr(name.size() - 5), "+json"));
}


/* Unless a charset says otherwise. */

static ngx_uint_t
ngx_http_sluice_is_utf8(const ngx_str_t &type)
{
    u_char            *charset;
    ngx_str_t          needle = ngx_string("charset=");
    std::string_view   value;

    charset = ngx_strlcasestrn(type.data, type.data + type.len, needle.data, needle.len - 1);
    if (charset == NULL) {
        return 1;
    }

    value = ngx_http_sluice_view(type).substr(charset - type.data + needle.len);
    value = ngx_http_sluice_unquote(value.substr(0, value.find_first_of("; \t")));

    return ngx_http_sluice_equal_nocase(value, "utf-8")
           || ngx_http_sluice_equal_nocase(value, "utf8");
}


/* One coding at most: who needs to compress twice is up to no good. */

static ngx_int_t
ngx_http_sluice_read_encoding(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx)
{
    ngx_table_elt_t  *header;

    static constexpr struct {
        std::string_view  name;
        sluice::Coding    coding;
    } codings[] = {
        { "gzip", sluice::Coding::kGzip },
        { "x-gzip", sluice::Coding::kGzip },
        { "deflate", sluice::Coding::kDeflate },
        { "identity", sluice::Coding::kIdentity },
        { "", sluice::Coding::kIdentity }
    };

    header = ngx_http_sluice_find_header(r, "Content-Encoding");
    if (header == NULL) {
        return NGX_OK;
    }

    if (ngx_http_sluice_find_header(r, "Content-Encoding", 1)) {
        return NGX_DECLINED;
    }

    for (const auto &known : codings) {
        if (ngx_http_sluice_equal_nocase(ngx_http_sluice_view(header->value), known.name)) {
            ctx->coding = known.coding;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
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

    header = ngx_http_sluice_find_header(r, "Early-Data");

    return header && ngx_http_sluice_view(header->value) == "1";
}


ngx_int_t
ngx_http_sluice_header_key(ngx_http_request_t *r, ngx_str_t *key)
{
    ngx_table_elt_t  *header;

    header = ngx_http_sluice_find_header(r, "Idempotency-Key");
    if (header == NULL) {
        return NGX_DECLINED;
    }

    *key = header->value;

    if (key->len == 0 || key->len > NGX_HTTP_SLUICE_KEY_MAX
        || ngx_http_sluice_find_header(r, "Idempotency-Key", 1))
    {
        return NGX_ERROR;
    }

    for (size_t i = 0; i < key->len; i++) {
        if (key->data[i] < 0x20 || key->data[i] > 0x7e) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static std::string_view
ngx_http_sluice_trim(std::string_view text)
{
    const size_t  first = text.find_first_not_of(" \t");

    return first == std::string_view::npos
           ? std::string_view()
           : text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}


/*
 * RFC 7240: "Prefer: handling=lenient" stores what is good, "handling=strict" all or nothing. There
 * may be several headers with several preferences each; the first handling is the one that counts.
 */

static void
ngx_http_sluice_read_preferences(ngx_http_request_t *r, ngx_http_sluice_ctx_t *ctx)
{
    ngx_uint_t        n;
    ngx_table_elt_t  *header;

    for (n = 0; /* void */ ; n++) {
        header = ngx_http_sluice_find_header(r, "Prefer", n);

        if (header == NULL
            || ngx_http_sluice_read_handling(ngx_http_sluice_view(header->value), ctx) == NGX_OK)
        {
            return;
        }
    }
}


static ngx_int_t
ngx_http_sluice_read_handling(std::string_view preferences, ngx_http_sluice_ctx_t *ctx)
{
    size_t            equals;
    std::string_view  one, value;

    while (!preferences.empty()) {
        one = preferences.substr(0, preferences.find(','));
        preferences.remove_prefix(ngx_min(one.size() + 1, preferences.size()));

        one = one.substr(0, one.find(';'));
        equals = one.find('=');

        if (equals == std::string_view::npos
            || !ngx_http_sluice_equal_nocase(ngx_http_sluice_trim(one.substr(0, equals)),
                                             "handling"))
        {
            continue;
        }

        value = ngx_http_sluice_unquote(ngx_http_sluice_trim(one.substr(equals + 1)));

        if (ngx_http_sluice_equal_nocase(value, "lenient")) {
            ctx->preferred = 1;
            ctx->partial = 1;

        } else if (ngx_http_sluice_equal_nocase(value, "strict")) {
            ctx->preferred = 1;
            ctx->partial = 0;
        }

        return NGX_OK;
    }

    return NGX_DECLINED;
}


/* The n-th of that name, from 0, or NULL. */

static ngx_table_elt_t *
ngx_http_sluice_find_header(ngx_http_request_t *r, std::string_view name, ngx_uint_t n)
{
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = static_cast<ngx_table_elt_t *>(part->elts);

        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (ngx_http_sluice_equal_nocase(ngx_http_sluice_view(header[i].key), name)
                && n-- == 0)
            {
                return &header[i];
            }
        }
    }

    return NULL;
}

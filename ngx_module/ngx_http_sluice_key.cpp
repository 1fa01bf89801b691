#include "ngx_http_sluice_key.hpp"

#include <openssl/evp.h>

#include "ngx_http_sluice_header.hpp"


ngx_int_t
ngx_http_sluice_key_begin(ngx_http_sluice_ctx_t *ctx)
{
    uint64_t             lengths[2];
    ngx_str_t            key, principal = ngx_null_string;
    ngx_http_request_t  *r = ctx->request;

    if (!ctx->keyed) {
        return NGX_OK;
    }

    if (ctx->conf->principal
        && ngx_http_complex_value(r, ctx->conf->principal, &principal) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_sluice_header_key(r, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->digest = EVP_MD_CTX_new();
    if (ctx->digest == NULL) {
        return NGX_ERROR;
    }

    /* lengths stand in front, so that no two triples read the same */
    lengths[0] = principal.len;
    lengths[1] = key.len;

    return EVP_DigestInit_ex(ctx->digest, EVP_sha256(), NULL)
           && EVP_DigestUpdate(ctx->digest, lengths, sizeof(lengths))
           && EVP_DigestUpdate(ctx->digest, principal.data, principal.len)
           && EVP_DigestUpdate(ctx->digest, key.data, key.len)
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_sluice_key_add(ngx_http_sluice_ctx_t *ctx, std::string_view piece)
{
    return !ctx->keyed || EVP_DigestUpdate(ctx->digest, piece.data(), piece.size())
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_sluice_key_end(ngx_http_sluice_ctx_t *ctx)
{
    u_char  digest[EVP_MAX_MD_SIZE];

    if (!ctx->keyed) {
        return NGX_OK;
    }

    if (!EVP_DigestFinal_ex(ctx->digest, digest, NULL)) {
        return NGX_ERROR;
    }

    ctx->key_id = sluice::keyed_producer_id(digest);
    ngx_http_sluice_key_drop(ctx);

    return NGX_OK;
}


void
ngx_http_sluice_key_drop(ngx_http_sluice_ctx_t *ctx)
{
    EVP_MD_CTX_free(ctx->digest);
    ctx->digest = NULL;
}

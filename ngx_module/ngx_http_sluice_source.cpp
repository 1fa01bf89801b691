/*
 * Pages say where they come from in their first bytes; those from nginx's cache must not say what
 * was true when they went in. The bytes of another source are as many, so length, ETag and what is
 * left of the file stay as they are.
 *
 * Among nginx's filters this is the first, for the file in the cache has to be seen before it is
 * cut into ranges, read, or compressed.
 */

#include "ngx_http_sluice_source.hpp"

#include "common/page_source.hpp"
#include "ngx_http_sluice_query.hpp"


static ngx_int_t ngx_http_sluice_source_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_sluice_source_body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static ngx_uint_t ngx_http_sluice_source_is_database(ngx_http_request_t *r, ngx_buf_t *b);


static ngx_http_output_header_filter_pt  ngx_http_sluice_source_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_sluice_source_next_body_filter;


void
ngx_http_sluice_source_init(void)
{
    ngx_http_sluice_source_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_sluice_source_header_filter;

    ngx_http_sluice_source_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_sluice_source_body_filter;
}


static ngx_int_t
ngx_http_sluice_source_header_filter(ngx_http_request_t *r)
{
    if (r->cached && ngx_http_sluice_query_of(r)) {
        /* several ranges can be cut from one buffer only, and a page will be two */
        r->single_range = 1;
    }

    return ngx_http_sluice_source_next_header_filter(r);
}


static ngx_int_t
ngx_http_sluice_source_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (!r->cached || in == NULL || ngx_http_sluice_query_of(r) == NULL
        || !ngx_http_sluice_source_is_database(r, in->buf))
    {
        return ngx_http_sluice_source_next_body_filter(r, in);
    }

    b = static_cast<ngx_buf_t *>(ngx_calloc_buf(r->pool));
    cl = ngx_alloc_chain_link(r->pool);
    if (b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->pos = ngx_http_sluice_str(sluice::kPageFromCache).data;
    b->last = b->pos + sluice::kPageFromCache.size();
    b->memory = 1;

    in->buf->file_pos += sluice::kPageFromCache.size();

    cl->buf = b;
    cl->next = in;

    return ngx_http_sluice_source_next_body_filter(r, cl);
}


/* Is this the buffer that nginx makes of a cached answer, and does it begin as a page? */

static ngx_uint_t
ngx_http_sluice_source_is_database(ngx_http_request_t *r, ngx_buf_t *b)
{
    u_char             head[sluice::kPageFromDatabase.size()];
    ngx_http_cache_t  *c = r->cache;

    if (!b->in_file || b->file->fd != c->file.fd
        || b->file_pos != static_cast<off_t>(c->body_start)
        || b->file_last - b->file_pos <= static_cast<off_t>(sizeof(head)))
    {
        return 0;
    }

    /* nginx has just read what stands in front of it, so this does not wait for the disk */
    return ngx_read_file(b->file, head, sizeof(head), b->file_pos)
               == static_cast<ssize_t>(sizeof(head))
           && ngx_memcmp(head, sluice::kPageFromDatabase.data(), sizeof(head)) == 0;
}

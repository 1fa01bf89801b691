#include "ngx_http_sluice_limit.hpp"

#include <sys/random.h>


/* What stands before the hot keys and the table in a zone. */
typedef struct {
    ngx_http_sluice_limit_counts_t  counts;
    size_t                          hot_bytes;
    size_t                          table_bytes;
} ngx_http_sluice_limit_head_t;

#define NGX_HTTP_SLUICE_LIMIT_HEAD  256

static_assert(sizeof(ngx_http_sluice_limit_head_t) <= NGX_HTTP_SLUICE_LIMIT_HEAD, "it has room");


static ngx_int_t ngx_http_sluice_limit_attach(ngx_http_sluice_limit_zone_t *zone, u_char *memory);


char  ngx_http_sluice_limit_tag;


/*
 * What was owed goes on being owed after a reload. Under another key the entries would be those of
 * other people.
 */

ngx_int_t
ngx_http_sluice_limit_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    u_char                        *memory;
    uint8_t                        seed[sluice::kSipKeyBytes];
    ngx_slab_pool_t               *shpool;
    ngx_http_sluice_limit_head_t  *head;
    ngx_http_sluice_limit_zone_t  *zone, *old;

    zone = static_cast<ngx_http_sluice_limit_zone_t *>(shm_zone->data);
    old = static_cast<ngx_http_sluice_limit_zone_t *>(data);
    shpool = reinterpret_cast<ngx_slab_pool_t *>(shm_zone->shm.addr);

    if (old && (zone->bytes != old->bytes || zone->key_text.len != old->key_text.len
                || ngx_memcmp(zone->key_text.data, old->key_text.data, old->key_text.len) != 0))
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "sluice_limit_zone \"%V\" counts %s of \"%V\" while previously it counted "
                      "%s of \"%V\": give the new one another name",
                      &zone->name, zone->bytes ? "bytes" : "records", &zone->key_text,
                      old->bytes ? "bytes" : "records", &old->key_text);
        return NGX_ERROR;
    }

    if (old && zone->global != old->global) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "sluice_limit_zone \"%V\" had another scope previously: give the new one "
                      "another name", &zone->name);
        return NGX_ERROR;
    }

    if (old || shm_zone->shm.exists) {
        return ngx_http_sluice_limit_attach(zone, static_cast<u_char *>(shpool->data));
    }

    memory = static_cast<u_char *>(ngx_slab_alloc(shpool, shpool->pfree * ngx_pagesize));

    if (memory == NULL
        || getrandom(seed, sizeof(seed), 0) != static_cast<ssize_t>(sizeof(seed)))
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, ngx_errno,
                      "sluice_limit_zone \"%V\" cannot be made", &zone->name);
        return NGX_ERROR;
    }

    head = reinterpret_cast<ngx_http_sluice_limit_head_t *>(memory);
    ngx_memzero(head, sizeof(ngx_http_sluice_limit_head_t));
    head->table_bytes = shm_zone->shm.addr + shm_zone->shm.size - memory
                        - NGX_HTTP_SLUICE_LIMIT_HEAD;
    head->hot_bytes = zone->global ? sluice::HotKeys::bytes_in(head->table_bytes) : 0;
    head->table_bytes -= head->hot_bytes;
    shpool->data = memory;

    sluice::HotKeys::create(memory + NGX_HTTP_SLUICE_LIMIT_HEAD, head->hot_bytes);

    if (!sluice::LimitTable::create(memory + NGX_HTTP_SLUICE_LIMIT_HEAD + head->hot_bytes,
                                    head->table_bytes, seed))
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "sluice_limit_zone \"%V\" is too small", &zone->name);
        return NGX_ERROR;
    }

    return ngx_http_sluice_limit_attach(zone, memory);
}


static ngx_int_t
ngx_http_sluice_limit_attach(ngx_http_sluice_limit_zone_t *zone, u_char *memory)
{
    uint64_t                        owed_max_ns = 0;
    ngx_http_sluice_limit_t       **limits;
    ngx_http_sluice_limit_head_t   *head;

    head = reinterpret_cast<ngx_http_sluice_limit_head_t *>(memory);
    limits = static_cast<ngx_http_sluice_limit_t **>(zone->limits.elts);

    for (ngx_uint_t i = 0; i < zone->limits.nelts; i++) {
        const sluice::GcraLimit  &gcra = limits[i]->gcra;

        owed_max_ns = ngx_max(owed_max_ns,
                              zone->global
                              ? sluice::GlobalLimit::owed_max_ns(gcra,
                                                                 sluice::GlobalLimit::kEdgesMax)
                              : gcra.burst_ns() + gcra.delay_ns());
    }

    for (ngx_uint_t i = 0; i < zone->limits.nelts; i++) {
        limits[i]->gcra = sluice::GcraLimit(zone->rate, zone->period_ns, limits[i]->burst,
                                            limits[i]->delay * 1000000ull, owed_max_ns);
    }

    zone->counts = &head->counts;
    zone->hot = sluice::HotKeys::attach(memory + NGX_HTTP_SLUICE_LIMIT_HEAD, head->hot_bytes);
    zone->table = sluice::LimitTable::attach(memory + NGX_HTTP_SLUICE_LIMIT_HEAD + head->hot_bytes,
                                             head->table_bytes);
    zone->table_of_all = sluice::GlobalLimit(zone->table, zone->hot);

    return zone->table ? NGX_OK : NGX_ERROR;
}

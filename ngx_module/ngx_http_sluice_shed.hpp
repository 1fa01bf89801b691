/*
 * Shedding: how full Redis and how far behind the loader is, by what the watch was told, and what
 * of which level is therefore refused. The watching worker works it out, the others read a word.
 */

#ifndef NGX_HTTP_SLUICE_SHED_HPP
#define NGX_HTTP_SLUICE_SHED_HPP

#include "ngx_http_sluice.hpp"

/* What may run out. */
enum ngx_http_sluice_pressure_e : ngx_uint_t {
    NGX_HTTP_SLUICE_PRESSURE_MEMORY = 0,
    NGX_HTTP_SLUICE_PRESSURE_RECORDS,
    NGX_HTTP_SLUICE_PRESSURE_BYTES,
    NGX_HTTP_SLUICE_PRESSURES
};

extern const char *ngx_http_sluice_pressure_names[NGX_HTTP_SLUICE_PRESSURES];

/* By the watch. */
typedef struct {
    uint64_t memory_used;
    uint64_t memory_max;      /* 0 = as much as it likes */
    uint64_t stream_entries;
    uint64_t kept_entries;    /* of these, stored and kept for who watches */
    uint64_t backlog_records;
    uint64_t backlog_bytes;
    uint64_t drain_records;   /* a second */
    uint64_t drain_bytes;
    ngx_uint_t backlog_told;  /* by a loader, lately */
    uint64_t taken_bytes;     /* ever, when Redis was asked */
} ngx_http_sluice_shed_seen_t;

/* A part of the zone. */
typedef struct {
    ngx_atomic_t state;       /* a sluice::ShedState */
    ngx_atomic_t cause;       /* the highest pressure */
    ngx_atomic_t pressure[NGX_HTTP_SLUICE_PRESSURES];  /* of sluice::kPressureWhole */
    ngx_atomic_t memory_used;
    ngx_atomic_t memory_max;
    ngx_atomic_t backlog_records;
    ngx_atomic_t backlog_bytes;
    ngx_atomic_t drain_records;
    ngx_atomic_t drain_bytes;
    ngx_atomic_t seen;        /* 0 = never */
    ngx_atomic_t taken_bytes; /* of rows, ever */
    ngx_atomic_t taken_before; /* of these what memory_used has in it */
} ngx_http_sluice_shed_zone_t;

void ngx_http_sluice_shed_look(const ngx_http_sluice_shed_seen_t *seen);

/* As it is now; nothing if it is off. */
sluice::ShedState ngx_http_sluice_shed_state(void);

/*
 * Whether so many records, of that level or at most of it, are refused; ctx->retry_after is set
 * then. Different each time it is asked, while the level is shed in part.
 */
ngx_uint_t ngx_http_sluice_shed_records(ngx_http_sluice_ctx_t *ctx, sluice::Level level,
    ngx_uint_t records);

/* Rows that passed: between two looks they are what is known of the memory that is left. */
void ngx_http_sluice_shed_taken(size_t bytes);
uint64_t ngx_http_sluice_shed_taken_bytes(void);

/* Whether everything is, whatever it may be. */
ngx_uint_t ngx_http_sluice_shed_all(ngx_http_sluice_ctx_t *ctx);

/* What a client that was refused is told; in the request's pool. */
std::string_view ngx_http_sluice_shed_detail(const ngx_http_sluice_ctx_t *ctx);

/* The lowest level of which nothing is refused, or "none". */
const char *ngx_http_sluice_shed_min_level(sluice::ShedState state);

char *ngx_http_sluice_shed_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

#endif

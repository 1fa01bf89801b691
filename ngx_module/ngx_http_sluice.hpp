/*
 * What every file of the module needs first: nginx's C headers (they define the width of off_t, so
 * they come before any other), the configuration, and the state of this worker.
 */

#ifndef NGX_HTTP_SLUICE_HPP
#define NGX_HTTP_SLUICE_HPP

extern "C" {
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
}

#include "common/breaker.hpp"
#include "common/frame.hpp"
#include "common/inflate.hpp"
#include "common/json_rows.hpp"
#include "common/shed.hpp"

extern "C" ngx_module_t ngx_http_sluice_module;

/* How much of what Redis confirmed survives; the order is the comparison. */
enum ngx_http_sluice_durability_e : ngx_uint_t {
    NGX_HTTP_SLUICE_UNSAFE = 0, /* unknown, not a master, or it may evict the stream */
    NGX_HTTP_SLUICE_MEMORY,
    NGX_HTTP_SLUICE_EVERYSEC,
    NGX_HTTP_SLUICE_FSYNC
};

enum ngx_http_sluice_ingest_e : ngx_uint_t {
    NGX_HTTP_SLUICE_OFF = 0,
    NGX_HTTP_SLUICE_LOG,
    NGX_HTTP_SLUICE_BATCH
};

enum ngx_http_sluice_health_e : ngx_uint_t {
    NGX_HTTP_SLUICE_HEALTH_OFF = 0,
    NGX_HTTP_SLUICE_HEALTH_ALL,
    NGX_HTTP_SLUICE_HEALTH_LIVE,
    NGX_HTTP_SLUICE_HEALTH_READY
};

typedef struct ngx_http_sluice_zone_s ngx_http_sluice_zone_t;
typedef struct ngx_http_sluice_counters_s ngx_http_sluice_counters_t;
typedef struct ngx_http_sluice_redis_s ngx_http_sluice_redis_t;
typedef struct ngx_http_sluice_commit_s ngx_http_sluice_commit_t;
typedef struct ngx_http_sluice_watch_s ngx_http_sluice_watch_t;
typedef struct ngx_http_sluice_breaker_s ngx_http_sluice_breaker_t;
typedef struct ngx_http_sluice_frame_s ngx_http_sluice_frame_t;
typedef struct ngx_http_sluice_turn_s ngx_http_sluice_turn_t;
typedef struct ngx_http_sluice_inflate_s ngx_http_sluice_inflate_t;
typedef struct ngx_http_sluice_inflation_s ngx_http_sluice_inflation_t;
typedef struct ngx_http_sluice_global_s ngx_http_sluice_global_t;
typedef struct ngx_http_sluice_limit_s ngx_http_sluice_limit_t;
typedef struct ngx_http_sluice_limit_part_s ngx_http_sluice_limit_part_t;
typedef struct ngx_http_sluice_withheld_s ngx_http_sluice_withheld_t;

typedef struct {
    ngx_uint_t on;
    sluice::ShedMarks marks;
    uint64_t records;           /* a backlog that is full; 0 = it never is */
    uint64_t bytes;
} ngx_http_sluice_shed_conf_t;

typedef struct {
    ngx_shm_zone_t *shm_zone;

    ngx_str_t redis_url;
    ngx_addr_t redis_addr;
    ngx_str_t redis_user;
    ngx_str_t redis_password;
    ngx_uint_t redis_db;

    ngx_str_t stream;
    ngx_uint_t durability;      /* the least that is accepted */
    ngx_msec_t timeout;         /* from a request's body to its answer */
    ngx_uint_t inflight_requests;
    size_t inflight_bytes;
    ngx_http_sluice_shed_conf_t shed;

    ngx_uint_t breaker;         /* 0 = off */
    sluice::BreakerSettings breaker_settings;

    ngx_array_t limit_zones;    /* of ngx_shm_zone_t * */

    ngx_uint_t used;            /* some location ingests or tells health */

    ngx_int_t query_index;      /* of $sluice_query among the variables, if it is named */
} ngx_http_sluice_main_conf_t;

typedef struct {
    ngx_uint_t ingest;
    ngx_uint_t health;
    ngx_uint_t records_max;
    size_t record_bytes_max;
    size_t inflated_bytes_max;
    ngx_uint_t inflate_ratio_max;
    ngx_uint_t partial;         /* 1 = bad records of a batch are left out */
    ngx_uint_t unknown_fields;  /* 1 = refused */
    ngx_http_complex_value_t *principal;
    ngx_array_t *limits;        /* of ngx_http_sluice_limit_t; NULL = none */
    ngx_uint_t limit_status;    /* of an answer to who sends too fast */
} ngx_http_sluice_loc_conf_t;

/*
 * A request from its header to the log. Between its body and its answer it stands in a queue,
 * where it waits for its next step of being inflated, for room in a frame or, its rows being in
 * one, for that frame's reply; it leaves the queue when it is answered or its client goes away.
 */
typedef struct {
    ngx_queue_t queue;
    ngx_http_request_t *request;
    ngx_http_sluice_loc_conf_t *conf;

    sluice::BodyShape shape;
    sluice::Coding coding;
    std::string_view body;
    u_char *gathered;                /* a body that comes in pieces, and the room for it */
    size_t room;
    ngx_http_sluice_inflation_t *inflation;  /* holds the body if it came compressed */

    ngx_http_sluice_limit_part_t *limit_parts;   /* what it is charged */
    uint64_t charged_ns;
    ngx_msec_t hold_ms;              /* a limit lets it pass, but only after that */
    ngx_event_t *hold;
    std::string_view held_rows;      /* of a request that was held, until it is in a frame */
    ngx_http_sluice_withheld_t *withheld;        /* records that a gate left out */

    ngx_msec_t deadline;
    ngx_http_sluice_frame_t *frame;  /* NULL: it waits for room */
    size_t rows_at;                  /* where its rows are in the frame, and their bytes */
    size_t rows_bytes;
    ngx_uint_t first;                /* position of its first record in the frame */
    ngx_uint_t records;
    struct evp_md_ctx_st *digest;    /* of a keyed request, until it has its key_id */
    sluice::ProducerId key_id;       /* of a keyed request's frame */

    /* what it came to, for variables */
    ngx_uint_t code;
    ngx_str_t message_id;            /* of its first record */
    uint64_t redis_us;

    ngx_str_t rejected;              /* members of the 200 about records that were left out */
    sluice::Level level;             /* the highest of its records */
    sluice::Level shed_level;        /* of what was shed */
    ngx_uint_t retry_after;          /* seconds, if a gate knows; 0 = the trouble's own */
    const ngx_http_sluice_limit_t *limited_by;
    ngx_uint_t limit_verdict;
    uint64_t limit_asked;            /* units, for one key */
    uint64_t limit_remaining;
    std::string_view limit_device;   /* whose they are, if it was a limit by device */

    unsigned partial:1;              /* bad records of a batch are left out */
    unsigned preferred:1;            /* because the request asked for that, or against it */
    unsigned one_by_one:1;           /* its records pass the gates each by itself */
    unsigned waiting:1;
    unsigned charged:1;              /* to the limits */
    unsigned keyed:1;
    unsigned answered:1;
} ngx_http_sluice_ctx_t;

/* One worker's parts; made in init_process, so nothing here is shared between processes. */
typedef struct {
    ngx_http_sluice_main_conf_t *conf;
    ngx_http_sluice_zone_t *zone;
    ngx_http_sluice_counters_t *counters;
    ngx_http_sluice_redis_t *redis;
    ngx_http_sluice_commit_t *commit;
    ngx_http_sluice_turn_t *reading;
    ngx_http_sluice_inflate_t *inflate;
    ngx_http_sluice_watch_t *watch;
    ngx_http_sluice_global_t *global;
    ngx_http_sluice_breaker_t *breaker;
} ngx_http_sluice_worker_t;

extern ngx_http_sluice_worker_t ngx_http_sluice_worker;

static inline ngx_str_t
ngx_http_sluice_str(std::string_view text)
{
    return { text.size(), reinterpret_cast<u_char *>(const_cast<char *>(text.data())) };
}

static inline std::string_view
ngx_http_sluice_view(const ngx_str_t &s)
{
    return std::string_view(reinterpret_cast<const char *>(s.data), s.len);
}

#endif

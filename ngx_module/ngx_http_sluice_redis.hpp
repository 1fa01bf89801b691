/*
 * This worker's connection to Redis: one, pipelined, for as long as the worker lives. It knows
 * commands and replies, and nothing of requests or frames.
 */

#ifndef NGX_HTTP_SLUICE_REDIS_HPP
#define NGX_HTTP_SLUICE_REDIS_HPP

#include "ngx_http_sluice.hpp"
#include "common/resp_reply.hpp"

enum ngx_http_sluice_outcome_e : ngx_uint_t {
    NGX_HTTP_SLUICE_REPLIED = 0, /* the reply may still be an error */
    NGX_HTTP_SLUICE_NOT_SENT,    /* not a byte left: it certainly did not happen */
    NGX_HTTP_SLUICE_UNKNOWN      /* the connection was lost before the reply */
};

/*
 * A command in the FIFO, or several that belong together. Whoever sends it owns it and its bytes
 * until its last reply, or until the handler is told that there will be none: once, with reply
 * NULL. RESP has no ids, so the order of replies is all that matches them to commands.
 */
typedef struct ngx_http_sluice_command_s ngx_http_sluice_command_t;

typedef void (*ngx_http_sluice_reply_pt)(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply);

struct ngx_http_sluice_command_s {
    ngx_queue_t queue;
    const char *start;
    const char *pos;      /* what is before it was sent */
    const char *last;
    ngx_uint_t replies;   /* still to come */
    ngx_http_sluice_reply_pt handler;
};

typedef struct {
    /* asked of every new connection before it is ready; NULL = nothing now */
    ngx_http_sluice_command_t *(*probe)(void);
    void (*ready)(void);
    /* there is no connection and the last attempt to make one failed */
    void (*down)(void);
    /* whether someone waits for a connection, though the worker is to leave */
    ngx_uint_t (*wanted)(void);
} ngx_http_sluice_redis_events_t;

ngx_http_sluice_redis_t *ngx_http_sluice_redis_create(ngx_cycle_t *cycle,
    ngx_http_sluice_main_conf_t *conf, const ngx_http_sluice_redis_events_t *events);

/* Closes for good, when nobody is left to be told. */
void ngx_http_sluice_redis_destroy(ngx_http_sluice_redis_t *redis);

/*
 * Whether it is worth to wait for ready: the connection stands, or is being made and the attempt
 * before did not fail. Begins to connect where nobody needed a connection until now.
 */
ngx_uint_t ngx_http_sluice_redis_usable(ngx_http_sluice_redis_t *redis);
ngx_uint_t ngx_http_sluice_redis_ready(ngx_http_sluice_redis_t *redis);

/* Only while ready. May call handlers, this command's among them, if the connection is lost. */
void ngx_http_sluice_redis_send(ngx_http_sluice_redis_t *redis,
    ngx_http_sluice_command_t *command);

/* Gives the connection up and makes a new one: a reply is overdue, or said it is no good. */
void ngx_http_sluice_redis_fail(ngx_http_sluice_redis_t *redis, const char *why);

#endif

/*
 * The module as nginx sees it, and the life of its parts in a worker.
 */

#include "ngx_http_sluice.hpp"

#include "ngx_http_sluice_breaker.hpp"
#include "ngx_http_sluice_commit.hpp"
#include "ngx_http_sluice_conf.hpp"
#include "ngx_http_sluice_directives.hpp"
#include "ngx_http_sluice_global.hpp"
#include "ngx_http_sluice_inflate.hpp"
#include "ngx_http_sluice_query.hpp"
#include "ngx_http_sluice_redis.hpp"
#include "ngx_http_sluice_turn.hpp"
#include "ngx_http_sluice_variables.hpp"
#include "ngx_http_sluice_watch.hpp"
#include "ngx_http_sluice_zone.hpp"


static ngx_int_t ngx_http_sluice_init_process(ngx_cycle_t *cycle);
static void ngx_http_sluice_exit_process(ngx_cycle_t *cycle);
static ngx_http_sluice_command_t *ngx_http_sluice_on_probe(void);
static void ngx_http_sluice_on_ready(void);
static void ngx_http_sluice_on_down(void);
static ngx_uint_t ngx_http_sluice_on_wanted(void);


ngx_http_sluice_worker_t  ngx_http_sluice_worker;


static const ngx_http_sluice_redis_events_t  ngx_http_sluice_redis_events = {
    ngx_http_sluice_on_probe,
    ngx_http_sluice_on_ready,
    ngx_http_sluice_on_down,
    ngx_http_sluice_on_wanted
};


static ngx_http_module_t  ngx_http_sluice_module_ctx = {
    ngx_http_sluice_add_variables,      /* preconfiguration */
    ngx_http_sluice_query_init,         /* postconfiguration */

    ngx_http_sluice_create_main_conf,   /* create main configuration */
    ngx_http_sluice_init_main_conf,     /* init main configuration */

    NULL,                               /* create server configuration */
    NULL,                               /* merge server configuration */

    ngx_http_sluice_create_loc_conf,    /* create location configuration */
    ngx_http_sluice_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_http_sluice_module = {
    NGX_MODULE_V1,
    &ngx_http_sluice_module_ctx,        /* module context */
    ngx_http_sluice_commands,           /* module directives */
    NGX_HTTP_MODULE,                    /* module type */
    NULL,                               /* init master */
    NULL,                               /* init module */
    ngx_http_sluice_init_process,       /* init process */
    NULL,                               /* init thread */
    NULL,                               /* exit thread */
    ngx_http_sluice_exit_process,       /* exit process */
    NULL,                               /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_sluice_init_process(ngx_cycle_t *cycle)
{
    ngx_http_sluice_worker_t     *worker = &ngx_http_sluice_worker;
    ngx_http_sluice_main_conf_t  *smcf;

    /* the cache manager and loader come here too */
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE) {
        return NGX_OK;
    }

    smcf = static_cast<ngx_http_sluice_main_conf_t *>(
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sluice_module));

    /* no http{}, or nothing in it that needs us */
    if (smcf == NULL || !smcf->used) {
        return NGX_OK;
    }

    worker->conf = smcf;
    worker->zone = static_cast<ngx_http_sluice_zone_t *>(smcf->shm_zone->data);

    worker->counters = ngx_http_sluice_counters_take(worker->zone);

    worker->commit = ngx_http_sluice_commit_create(cycle, smcf);
    worker->reading = ngx_http_sluice_turn_create(cycle);
    worker->inflate = ngx_http_sluice_inflate_create(cycle, smcf);
    worker->watch = ngx_http_sluice_watch_create(cycle, smcf);
    worker->breaker = ngx_http_sluice_breaker_create(cycle, smcf, worker->zone);
    worker->global = ngx_http_sluice_global_create(cycle, smcf);
    if (worker->commit == NULL || worker->reading == NULL || worker->inflate == NULL
        || worker->watch == NULL || worker->breaker == NULL || worker->global == NULL)
    {
        return NGX_ERROR;
    }

    /* last, for it connects, and tells the others how that went */
    worker->redis = ngx_http_sluice_redis_create(cycle, smcf, &ngx_http_sluice_redis_events);

    return worker->redis ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_sluice_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_sluice_worker_t  *worker = &ngx_http_sluice_worker;

    if (worker->redis == NULL) {
        return;
    }

    ngx_http_sluice_global_destroy(worker->global);
    ngx_http_sluice_watch_destroy(worker->watch);
    ngx_http_sluice_breaker_destroy(worker->breaker);
    ngx_http_sluice_redis_destroy(worker->redis);
    ngx_http_sluice_commit_destroy(worker->commit);
    ngx_http_sluice_counters_leave(worker->counters);
}


static ngx_http_sluice_command_t *
ngx_http_sluice_on_probe(void)
{
    return ngx_http_sluice_watch_probe(ngx_http_sluice_worker.watch);
}


static void
ngx_http_sluice_on_ready(void)
{
    ngx_http_sluice_commit_redis_ready(ngx_http_sluice_worker.commit);
    ngx_http_sluice_breaker_connected(ngx_http_sluice_worker.breaker);
}


static void
ngx_http_sluice_on_down(void)
{
    /* who is connected watches instead, or it would be silent until the lease ends */
    ngx_http_sluice_lease_leave(&ngx_http_sluice_worker.zone->watcher);
    ngx_http_sluice_breaker_not_connected(ngx_http_sluice_worker.breaker);
    ngx_http_sluice_commit_redis_down(ngx_http_sluice_worker.commit);
}


static ngx_uint_t
ngx_http_sluice_on_wanted(void)
{
    return ngx_http_sluice_commit_waiting(ngx_http_sluice_worker.commit);
}

#include "ngx_http_sluice_watch.hpp"

#include <charconv>

#include "ngx_http_sluice_breaker.hpp"
#include "ngx_http_sluice_commit.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_log.hpp"
#include "ngx_http_sluice_shed.hpp"
#include "ngx_http_sluice_zone.hpp"


/* The loader tells as often: what is known is a second old at most. */
#define NGX_HTTP_SLUICE_WATCH_INTERVAL  500

/* A watcher that has not renewed its lease for so long is dead. */
#define NGX_HTTP_SLUICE_WATCH_LEASE     2500

/* A question that is open for so long says that the connection is dead. */
#define NGX_HTTP_SLUICE_WATCH_PATIENCE  5000

/* What an operator must mend is said again. */
#define NGX_HTTP_SLUICE_WATCH_TELL      60000


/* The commands of a probe, in the order of their replies. */
enum ngx_http_sluice_probe_e : ngx_uint_t {
    NGX_HTTP_SLUICE_PROBE_APPEND = 0,
    NGX_HTTP_SLUICE_PROBE_POLICY,
    NGX_HTTP_SLUICE_PROBE_PERSISTENCE,
    NGX_HTTP_SLUICE_PROBE_ROLE,
    NGX_HTTP_SLUICE_PROBE_MEMORY,
    NGX_HTTP_SLUICE_PROBE_LOADER,
    NGX_HTTP_SLUICE_PROBE_LENGTH,
    NGX_HTTP_SLUICE_PROBE_KEPT,
    NGX_HTTP_SLUICE_PROBES
};


struct ngx_http_sluice_watch_s {
    ngx_http_sluice_command_t    probe;
    ngx_uint_t                   asked;       /* the replies are not all there */
    ngx_msec_t                   asked_at;
    ngx_event_t                  timer;

    /* what the replies said so far */
    ngx_uint_t                   appendonly;
    ngx_uint_t                   appendfsync; /* a level of durability */
    ngx_uint_t                   fsync_pauses; /* while the AOF is rewritten */
    ngx_uint_t                   noeviction;
    ngx_uint_t                   aof_written;
    ngx_uint_t                   aof_rewritten; /* now, or soon */
    ngx_uint_t                   master;
    ngx_uint_t                   postgres;
    ngx_http_sluice_shed_seen_t  shed;
    ngx_uint_t                   refused;     /* Redis would not tell something */
};


static void ngx_http_sluice_watch_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply);
static void ngx_http_sluice_watch_read(ngx_http_sluice_watch_t *watch, ngx_uint_t n,
    const sluice::Reply &reply);
static void ngx_http_sluice_watch_loader(ngx_http_sluice_watch_t *watch,
    const sluice::Reply &reply);
static ngx_uint_t ngx_http_sluice_watch_number(std::string_view *elements, uint64_t *number);
static uint64_t ngx_http_sluice_watch_info(std::string_view info, std::string_view name);
static void ngx_http_sluice_watch_judge(ngx_http_sluice_watch_t *watch);
static std::string_view ngx_http_sluice_watch_config(const sluice::Reply &reply,
    std::string_view name);
static void ngx_http_sluice_watch_timer_handler(ngx_event_t *ev);


ngx_http_sluice_watch_t *
ngx_http_sluice_watch_create(ngx_cycle_t *cycle, ngx_http_sluice_main_conf_t *conf)
{
    size_t                    size;
    u_char                   *p;
    ngx_http_sluice_watch_t  *watch;

    static const char  fixed[] =
        "*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$8\r\n*append*\r\n"
        "*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$16\r\nmaxmemory-policy\r\n"
        "*2\r\n$4\r\nINFO\r\n$11\r\npersistence\r\n"
        "*1\r\n$4\r\nROLE\r\n"
        "*2\r\n$4\r\nINFO\r\n$6\r\nmemory\r\n";

    watch = static_cast<ngx_http_sluice_watch_t *>(
        ngx_pcalloc(cycle->pool, sizeof(ngx_http_sluice_watch_t)));
    size = sizeof(fixed) + 3 * conf->stream.len + 320;
    p = static_cast<u_char *>(ngx_pnalloc(cycle->pool, size));
    if (watch == NULL || p == NULL) {
        return NULL;
    }

    watch->probe.start = reinterpret_cast<char *>(p);
    p = ngx_cpymem(p, fixed, sizeof(fixed) - 1);
    p = ngx_sprintf(p, "*7\r\n$5\r\nHMGET\r\n$%uz\r\n%V:loader\r\n$8\r\npostgres\r\n"
                    "$15\r\nbacklog_records\r\n$13\r\nbacklog_bytes\r\n"
                    "$13\r\ndrain_records\r\n$11\r\ndrain_bytes\r\n"
                    "*2\r\n$4\r\nXLEN\r\n$%uz\r\n%V\r\n"
                    "*3\r\n$5\r\nHMGET\r\n$%uz\r\n%V:kept\r\n$7\r\nentries\r\n",
                    conf->stream.len + sizeof(":loader") - 1, &conf->stream,
                    conf->stream.len, &conf->stream,
                    conf->stream.len + sizeof(":kept") - 1, &conf->stream);
    watch->probe.last = reinterpret_cast<char *>(p);
    watch->probe.handler = ngx_http_sluice_watch_reply;

    /* cancelable: it must not keep a worker that is to leave */
    watch->timer.handler = ngx_http_sluice_watch_timer_handler;
    watch->timer.data = watch;
    watch->timer.log = cycle->log;
    watch->timer.cancelable = 1;
    ngx_add_timer(&watch->timer, NGX_HTTP_SLUICE_WATCH_INTERVAL);

    return watch;
}


void
ngx_http_sluice_watch_destroy(ngx_http_sluice_watch_t *watch)
{
    if (watch->timer.timer_set) {
        ngx_del_timer(&watch->timer);
    }
}


ngx_http_sluice_command_t *
ngx_http_sluice_watch_probe(ngx_http_sluice_watch_t *watch)
{
    if (watch->asked) {
        return NULL;
    }

    watch->asked = 1;
    watch->asked_at = ngx_current_msec;
    watch->probe.replies = NGX_HTTP_SLUICE_PROBES;

    watch->appendonly = 0;
    watch->appendfsync = NGX_HTTP_SLUICE_MEMORY;
    watch->fsync_pauses = 0;
    watch->noeviction = 0;
    watch->aof_written = 0;
    watch->aof_rewritten = 0;
    watch->master = 0;
    watch->postgres = NGX_HTTP_SLUICE_POSTGRES_UNKNOWN;
    watch->shed = ngx_http_sluice_shed_seen_t();
    watch->shed.taken_bytes = ngx_http_sluice_shed_taken_bytes();
    watch->refused = 0;

    return &watch->probe;
}


static void
ngx_http_sluice_watch_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply)
{
    ngx_str_t                 text;
    ngx_http_sluice_watch_t  *watch = ngx_queue_data(command, ngx_http_sluice_watch_t, probe);

    if (outcome != NGX_HTTP_SLUICE_REPLIED) {
        watch->asked = 0;
        return;
    }

    if (reply->type == sluice::ReplyType::kError
        && ngx_http_sluice_redis_error(reply->text) == NGX_HTTP_SLUICE_ERROR_LOADING)
    {
        /* not less durable, only not there yet */
        ngx_http_sluice_redis_fail(ngx_http_sluice_worker.redis, "it is loading its data");
        return;
    }

    if (reply->type == sluice::ReplyType::kError) {
        text = ngx_http_sluice_str(reply->text);
        if (ngx_http_sluice_log_allowed(NGX_HTTP_SLUICE_LOG_PROBE)) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "Redis does not tell how durable it is: %V", &text);
        }
        ngx_http_sluice_worker.counters->redis_errors[ngx_http_sluice_redis_error(reply->text)]++;
        watch->refused = 1;

    } else {
        ngx_http_sluice_watch_read(watch, NGX_HTTP_SLUICE_PROBES - command->replies - 1, *reply);
    }

    if (command->replies == 0) {
        watch->asked = 0;
        ngx_http_sluice_breaker_alive(ngx_http_sluice_worker.breaker);
        ngx_http_sluice_watch_judge(watch);
    }
}


static void
ngx_http_sluice_watch_read(ngx_http_sluice_watch_t *watch, ngx_uint_t n,
    const sluice::Reply &reply)
{
    sluice::Reply     element;
    std::string_view  value, elements = reply.text;

    switch (n) {

    case NGX_HTTP_SLUICE_PROBE_APPEND:
        watch->appendonly = ngx_http_sluice_watch_config(reply, "appendonly") == "yes";
        value = ngx_http_sluice_watch_config(reply, "appendfsync");
        watch->appendfsync = value == "always"     ? NGX_HTTP_SLUICE_FSYNC
                             : value == "everysec" ? NGX_HTTP_SLUICE_EVERYSEC
                                                   : NGX_HTTP_SLUICE_MEMORY;
        watch->fsync_pauses =
            ngx_http_sluice_watch_config(reply, "no-appendfsync-on-rewrite") != "no";
        break;

    case NGX_HTTP_SLUICE_PROBE_POLICY:
        watch->noeviction =
            ngx_http_sluice_watch_config(reply, "maxmemory-policy") == "noeviction";
        break;

    case NGX_HTTP_SLUICE_PROBE_PERSISTENCE:
        watch->aof_written =
            reply.text.find("aof_last_write_status:ok") != std::string_view::npos;
        watch->aof_rewritten =
            reply.text.find("aof_rewrite_in_progress:1") != std::string_view::npos
            || reply.text.find("aof_rewrite_scheduled:1") != std::string_view::npos;
        break;

    case NGX_HTTP_SLUICE_PROBE_ROLE:
        watch->master = reply.type == sluice::ReplyType::kArray
                        && sluice::take_element(&elements, &element)
                        && element.text == "master";
        break;

    case NGX_HTTP_SLUICE_PROBE_MEMORY:
        watch->shed.memory_used = ngx_http_sluice_watch_info(reply.text, "\nused_memory:");
        watch->shed.memory_max = ngx_http_sluice_watch_info(reply.text, "\nmaxmemory:");
        break;

    case NGX_HTTP_SLUICE_PROBE_LOADER:
        ngx_http_sluice_watch_loader(watch, reply);
        break;

    case NGX_HTTP_SLUICE_PROBE_LENGTH:
        watch->shed.stream_entries = reply.integer;
        break;

    case NGX_HTTP_SLUICE_PROBE_KEPT:
        (void) ngx_http_sluice_watch_number(&elements, &watch->shed.kept_entries);
        break;
    }
}


/* Without a loader that tells all are nil. */

static void
ngx_http_sluice_watch_loader(ngx_http_sluice_watch_t *watch, const sluice::Reply &reply)
{
    ngx_uint_t        told;
    sluice::Reply     element;
    std::string_view  elements = reply.text;

    ngx_http_sluice_shed_seen_t  *shed = &watch->shed;

    if (reply.type != sluice::ReplyType::kArray || !sluice::take_element(&elements, &element)
        || element.type != sluice::ReplyType::kBulk)
    {
        return;
    }

    watch->postgres = element.text == "up" ? NGX_HTTP_SLUICE_POSTGRES_UP
                                           : NGX_HTTP_SLUICE_POSTGRES_DOWN;

    told = ngx_http_sluice_watch_number(&elements, &shed->backlog_records)
           && ngx_http_sluice_watch_number(&elements, &shed->backlog_bytes)
           && ngx_http_sluice_watch_number(&elements, &shed->drain_records)
           && ngx_http_sluice_watch_number(&elements, &shed->drain_bytes);

    shed->backlog_told = told;

    if (watch->postgres != NGX_HTTP_SLUICE_POSTGRES_UP) {
        /* what it was tells nothing about what will be */
        shed->drain_records = 0;
        shed->drain_bytes = 0;
    }
}


static ngx_uint_t
ngx_http_sluice_watch_number(std::string_view *elements, uint64_t *number)
{
    const char     *end;
    sluice::Reply   element;

    if (!sluice::take_element(elements, &element) || element.type != sluice::ReplyType::kBulk) {
        return 0;
    }

    end = element.text.data() + element.text.size();

    return std::from_chars(element.text.data(), end, *number).ec == std::errc();
}


/* 0 if it is not there. */

static uint64_t
ngx_http_sluice_watch_info(std::string_view info, std::string_view name)
{
    size_t    at = info.find(name);
    uint64_t  number = 0;

    if (at != std::string_view::npos) {
        (void) std::from_chars(info.data() + at + name.size(), info.data() + info.size(), number);
    }

    return number;
}


/* CONFIG GET answers with names and values by turns. */

static std::string_view
ngx_http_sluice_watch_config(const sluice::Reply &reply, std::string_view name)
{
    sluice::Reply     key, value;
    std::string_view  elements = reply.text;

    if (reply.type != sluice::ReplyType::kArray) {
        return std::string_view();
    }

    while (sluice::take_element(&elements, &key) && sluice::take_element(&elements, &value)) {
        if (key.text == name) {
            return value.text;
        }
    }

    return std::string_view();
}


static void
ngx_http_sluice_watch_judge(ngx_http_sluice_watch_t *watch)
{
    ngx_uint_t                    level;
    const char                   *why;
    ngx_atomic_uint_t             told;
    ngx_http_sluice_zone_t       *zone = ngx_http_sluice_worker.zone;
    ngx_http_sluice_main_conf_t  *conf = ngx_http_sluice_worker.conf;

    /*
     * Until the rewrite is done that follows when appendonly is switched on, Redis would load
     * the AOF of before it was switched off, or none.
     */
    if (!watch->refused && !watch->appendonly) {
        zone->aof_begins = 1;
    } else if (!watch->refused && !watch->aof_rewritten) {
        zone->aof_begins = 0;
    }

    level = NGX_HTTP_SLUICE_UNSAFE;

    if (watch->refused) {
        why = "it does not tell (may this user run CONFIG GET, INFO, ROLE, HMGET and XLEN?)";
    } else if (!watch->master) {
        why = "it is not a master";
    } else if (!watch->noeviction) {
        why = "its maxmemory-policy may evict the stream: set noeviction";
    } else if (!watch->appendonly) {
        level = NGX_HTTP_SLUICE_MEMORY;
        why = "appendonly is off";
    } else if (zone->aof_begins) {
        level = NGX_HTTP_SLUICE_MEMORY;
        why = "appendonly was switched on, and the AOF is not written yet";
    } else if (!watch->aof_written) {
        level = NGX_HTTP_SLUICE_MEMORY;
        why = "its last write to the AOF failed";
    } else if (watch->fsync_pauses) {
        level = NGX_HTTP_SLUICE_MEMORY;
        why = "no-appendfsync-on-rewrite is on: nothing is synced while the AOF is rewritten";
    } else {
        level = watch->appendfsync;
        why = "appendfsync is lower";
    }

    zone->durability = level;
    ngx_http_sluice_shed_look(&watch->shed);
    zone->postgres = watch->postgres;
    zone->checked = ngx_current_msec ? ngx_current_msec : 1;

    /* who connects judges, too: one of them tells, and the clock of another may be a little behind */
    told = zone->undurable_told;

    if (level >= conf->durability) {
        if (told && ngx_atomic_cmp_set(&zone->undurable_told, told, 0)) {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0, "Redis is durable again");
        }
        return;
    }

    if ((told == 0
         || static_cast<ngx_msec_int_t>(ngx_current_msec - told) >= NGX_HTTP_SLUICE_WATCH_TELL)
        && ngx_atomic_cmp_set(&zone->undurable_told, told, ngx_current_msec ? ngx_current_msec : 1))
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "Redis is less durable than \"sluice_durability %V\", POSTs are refused: %s",
                      &ngx_http_sluice_durability_names[conf->durability], why);
    }
}


static void
ngx_http_sluice_watch_timer_handler(ngx_event_t *ev)
{
    ngx_http_sluice_watch_t  *watch = static_cast<ngx_http_sluice_watch_t *>(ev->data);
    ngx_http_sluice_redis_t  *redis = ngx_http_sluice_worker.redis;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_SLUICE_WATCH_INTERVAL);

    ngx_http_sluice_commit_look(ngx_http_sluice_worker.commit);

    if (watch->asked) {
        if (ngx_current_msec - watch->asked_at > NGX_HTTP_SLUICE_WATCH_PATIENCE) {
            ngx_http_sluice_redis_fail(redis, "a reply is overdue");
        }
        return;
    }

    if (ngx_http_sluice_redis_ready(redis)
        && ngx_http_sluice_lease_take(&ngx_http_sluice_worker.zone->watcher,
                                      NGX_HTTP_SLUICE_WATCH_LEASE))
    {
        ngx_http_sluice_redis_send(redis, ngx_http_sluice_watch_probe(watch));
    }
}

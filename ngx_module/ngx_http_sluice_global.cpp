#include "ngx_http_sluice_global.hpp"

#include <new>

#include <openssl/evp.h>
#include <sys/random.h>

#include "ngx_http_sluice_errors.hpp"
#include "ngx_http_sluice_log.hpp"
#include "ngx_http_sluice_redis.hpp"
#include "ngx_http_sluice_zone.hpp"


#define NGX_HTTP_SLUICE_GLOBAL_INTERVAL  (sluice::GlobalLimit::kIntervalNs / 1000000)

/* Also with nothing to tell: so the others know that this edge is there, and it that Redis is. */
#define NGX_HTTP_SLUICE_GLOBAL_SILENCE   300

/* Who has not told anything for so long is gone. */
#define NGX_HTTP_SLUICE_GLOBAL_GONE      (sluice::GlobalLimit::kForgottenNs / 1000000)

/* Without an answer for so long each edge has only its share. */
#define NGX_HTTP_SLUICE_GLOBAL_PATIENCE  1000

/* Another worker follows one that was killed, within that patience. */
#define NGX_HTTP_SLUICE_GLOBAL_LEASE     500


/*
 * KEYS: the edges, then the keys told. ARGV: this edge, us until an edge is gone, the most that can
 * be owed, then what each key is told. Answers how many edges are alive, then what each key owes.
 *
 * Nothing of it goes to the AOF or to replicas: it is worth nothing after a while, and would make
 * the frames wait for the disk. That a key expires does go there, so those that are told every
 * second do not expire. A debt that cannot be, or an edge of the future, is of a time when Redis'
 * clock was ahead.
 */

static const char  ngx_http_sluice_global_script[] =
    "redis.set_repl(redis.REPL_NONE)\n"
    "local now = redis.call('TIME')\n"
    "now = now[1] * 1000000 + now[2]\n"
    "redis.call('ZADD', KEYS[1], now, ARGV[1])\n"
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])\n"
    "redis.call('ZREMRANGEBYSCORE', KEYS[1], now + 1, '+inf')\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
    "local out = {redis.call('ZCARD', KEYS[1])}\n"
    "for i = 2, #KEYS do\n"
    "  local tat = tonumber(redis.call('GET', KEYS[i])) or 0\n"
    "  local owed = math.min(math.max(tat - now, 0), tonumber(ARGV[3])) + ARGV[i + 2]\n"
    "  redis.call('SET', KEYS[i], now + owed, 'PX', math.floor(owed / 1000) + 2000)\n"
    "  out[i] = owed\n"
    "end\n"
    "return out\n";


/* A limit's zone, and who tells of its keys. */
typedef struct {
    ngx_http_sluice_limit_zone_t   *zone;
    sluice::GlobalTeller            teller;
} ngx_http_sluice_global_part_t;


struct ngx_http_sluice_global_s {
    ngx_http_sluice_main_conf_t    *conf;
    ngx_http_sluice_global_part_t  *parts;
    ngx_uint_t                      n;

    ngx_http_sluice_redis_t        *redis;      /* NULL: this worker never was the one that tells */
    ngx_uint_t                      telling;    /* it is now */

    ngx_http_sluice_command_t       command;
    char                           *text;       /* of the command */
    ngx_uint_t                      part;       /* whose keys it tells */
    ngx_uint_t                      keys;       /* how many */
    ngx_uint_t                      asked;
    ngx_msec_t                      asked_at;

    ngx_event_t                     timer;
};


static void ngx_http_sluice_global_timer_handler(ngx_event_t *ev);
static ngx_uint_t ngx_http_sluice_global_elected(ngx_http_sluice_global_t *global);
static void ngx_http_sluice_global_begin(ngx_http_sluice_global_t *global);
static void ngx_http_sluice_global_tell(ngx_http_sluice_global_t *global);
static void ngx_http_sluice_global_call(ngx_http_sluice_global_t *global, ngx_uint_t keys);
static u_char *ngx_http_sluice_global_write_keys(ngx_http_sluice_global_t *global, u_char *p,
    ngx_uint_t keys);
static u_char *ngx_http_sluice_global_write_number(u_char *p, uint64_t number);
static void ngx_http_sluice_global_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply);
static ngx_uint_t ngx_http_sluice_global_learn(ngx_http_sluice_global_t *global,
    const sluice::Reply &reply);
static uint64_t ngx_http_sluice_global_owed_max(const ngx_http_sluice_limit_zone_t *zone);
static ngx_http_sluice_command_t *ngx_http_sluice_global_on_probe(void);
static void ngx_http_sluice_global_on_ready(void);
static void ngx_http_sluice_global_on_down(void);
static ngx_uint_t ngx_http_sluice_global_on_wanted(void);


static const ngx_http_sluice_redis_events_t  ngx_http_sluice_global_redis_events = {
    ngx_http_sluice_global_on_probe,
    ngx_http_sluice_global_on_ready,
    ngx_http_sluice_global_on_down,
    ngx_http_sluice_global_on_wanted
};


ngx_http_sluice_global_t *
ngx_http_sluice_global_create(ngx_cycle_t *cycle, ngx_http_sluice_main_conf_t *conf)
{
    size_t                          name = 0;
    uint64_t                        edge = 0;
    ngx_shm_zone_t                **zones;
    ngx_http_sluice_limit_zone_t   *zone;
    ngx_http_sluice_global_t       *global;

    global = static_cast<ngx_http_sluice_global_t *>(
        ngx_pcalloc(cycle->pool, sizeof(ngx_http_sluice_global_t)));
    if (global == NULL) {
        return NULL;
    }

    global->conf = conf;
    global->parts = static_cast<ngx_http_sluice_global_part_t *>(
        ngx_palloc(cycle->pool, conf->limit_zones.nelts * sizeof(ngx_http_sluice_global_part_t)));
    if (global->parts == NULL) {
        return NULL;
    }

    zones = static_cast<ngx_shm_zone_t **>(conf->limit_zones.elts);

    for (ngx_uint_t i = 0; i < conf->limit_zones.nelts; i++) {
        zone = static_cast<ngx_http_sluice_limit_zone_t *>(zones[i]->data);
        if (zone->global) {
            name = ngx_max(name, zone->name.len);
            new (&global->parts[global->n++]) ngx_http_sluice_global_part_t {
                zone, sluice::GlobalTeller(zone->table, zone->hot, zone->when_full) };
        }
    }

    if (global->n == 0) {
        return global;
    }

    /* a key's name, what it is told, and the lengths of both; so much room for all before, too */
    global->text = static_cast<char *>(
        ngx_pnalloc(cycle->pool, sizeof(ngx_http_sluice_global_script)
                                 + (sluice::GlobalTeller::kKeysMax + 4)
                                   * (conf->stream.len + name + 128)));
    if (global->text == NULL
        || getrandom(&edge, sizeof(edge), 0) != static_cast<ssize_t>(sizeof(edge)))
    {
        return NULL;
    }

    (void) ngx_atomic_cmp_set(&ngx_http_sluice_worker.zone->global.edge, 0, edge | 1);

    global->command.start = global->text;
    global->command.handler = ngx_http_sluice_global_reply;

    /* cancelable: it must not keep a worker that is to leave */
    global->timer.handler = ngx_http_sluice_global_timer_handler;
    global->timer.data = global;
    global->timer.log = cycle->log;
    global->timer.cancelable = 1;
    ngx_add_timer(&global->timer, 1);

    return global;
}


void
ngx_http_sluice_global_destroy(ngx_http_sluice_global_t *global)
{
    if (global->redis) {
        ngx_http_sluice_redis_destroy(global->redis);
    }

    if (global->timer.timer_set) {
        ngx_del_timer(&global->timer);
    }
}


ngx_uint_t
ngx_http_sluice_global_used(const ngx_http_sluice_global_t *global)
{
    return global->n != 0;
}


sluice::Edges
ngx_http_sluice_global_edges(void)
{
    const ngx_http_sluice_global_zone_t  &shared = ngx_http_sluice_worker.zone->global;

    const ngx_msec_t  heard = shared.heard;

    return { ngx_max(shared.edges, 1),
             heard != 0 && static_cast<ngx_msec_int_t>(ngx_current_msec - heard)
                           <= NGX_HTTP_SLUICE_GLOBAL_PATIENCE };
}


/* Nobody can make a key that has the name of another's: that would take 2^63 attempts. */

uint64_t
ngx_http_sluice_global_name(std::string_view key)
{
    u_char    digest[EVP_MAX_MD_SIZE];
    uint64_t  name = 0;

    if (EVP_Digest(key.data(), key.size(), digest, NULL, EVP_sha256(), NULL)) {
        ngx_memcpy(&name, digest, sizeof(name));
    }

    return name;
}


static void
ngx_http_sluice_global_timer_handler(ngx_event_t *ev)
{
    ngx_http_sluice_global_t  *global = static_cast<ngx_http_sluice_global_t *>(ev->data);

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        global->telling = 0;
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_SLUICE_GLOBAL_INTERVAL);

    if (!ngx_http_sluice_global_elected(global)) {
        return;
    }

    if (global->asked) {
        if (ngx_current_msec - global->asked_at > NGX_HTTP_SLUICE_GLOBAL_PATIENCE) {
            ngx_http_sluice_redis_fail(global->redis, "a reply about limits is overdue");
        }
        return;
    }

    if (ngx_http_sluice_redis_usable(global->redis)
        && ngx_http_sluice_redis_ready(global->redis))
    {
        ngx_http_sluice_global_begin(global);
    }
}


static void
ngx_http_sluice_global_begin(ngx_http_sluice_global_t *global)
{
    for (ngx_uint_t i = 0; i < global->n; i++) {
        global->parts[i].teller.begin();
    }

    global->part = 0;
    ngx_http_sluice_global_tell(global);
}


static ngx_uint_t
ngx_http_sluice_global_elected(ngx_http_sluice_global_t *global)
{
    if (!ngx_http_sluice_lease_take(&ngx_http_sluice_worker.zone->global.teller,
                                    NGX_HTTP_SLUICE_GLOBAL_LEASE))
    {
        global->telling = 0;
        return 0;
    }

    if (global->redis == NULL) {
        global->redis = ngx_http_sluice_redis_create(const_cast<ngx_cycle_t *>(ngx_cycle),
                                                     global->conf,
                                                     &ngx_http_sluice_global_redis_events);
    }

    if (!global->telling) {
        for (ngx_uint_t i = 0; i < global->n; i++) {
            global->parts[i].teller.take_over();
        }
    }

    global->telling = global->redis != NULL;

    return global->telling;
}


/* Of what there is to be told, the next part. */

static void
ngx_http_sluice_global_tell(ngx_http_sluice_global_t *global)
{
    ngx_uint_t  keys;

    for ( /* void */ ; global->part < global->n; global->part++) {
        keys = global->parts[global->part].teller.next();
        if (keys) {
            ngx_http_sluice_global_call(global, keys);
            return;
        }
    }

    if (ngx_current_msec - global->asked_at >= NGX_HTTP_SLUICE_GLOBAL_SILENCE) {
        global->part = 0;
        ngx_http_sluice_global_call(global, 0);
    }
}


static void
ngx_http_sluice_global_call(ngx_http_sluice_global_t *global, ngx_uint_t keys)
{
    u_char                               *p;
    const ngx_http_sluice_global_part_t  &part = global->parts[global->part];

    ngx_http_sluice_global_zone_t  *shared = &ngx_http_sluice_worker.zone->global;

    p = reinterpret_cast<u_char *>(global->text);

    p = ngx_sprintf(p, "*%ui\r\n$4\r\nEVAL\r\n$%uz\r\n%s\r\n", 7 + 2 * keys,
                    sizeof(ngx_http_sluice_global_script) - 1, ngx_http_sluice_global_script);
    p = ngx_http_sluice_global_write_number(p, 1 + keys);
    p = ngx_http_sluice_global_write_keys(global, p, keys);
    p = ngx_sprintf(p, "$16\r\n%016xL\r\n", static_cast<uint64_t>(shared->edge));
    p = ngx_http_sluice_global_write_number(p, NGX_HTTP_SLUICE_GLOBAL_GONE * 1000);
    p = ngx_http_sluice_global_write_number(p, ngx_http_sluice_global_owed_max(part.zone));

    for (ngx_uint_t i = 0; i < keys; i++) {
        p = ngx_http_sluice_global_write_number(p, part.teller.telling(i).us);
    }

    global->command.last = reinterpret_cast<char *>(p);
    global->command.replies = 1;
    global->keys = keys;
    global->asked = 1;
    global->asked_at = ngx_current_msec;

    shared->calls++;
    shared->keys += keys;

    ngx_http_sluice_redis_send(global->redis, &global->command);
}


static u_char *
ngx_http_sluice_global_write_keys(ngx_http_sluice_global_t *global, u_char *p, ngx_uint_t keys)
{
    size_t                                size;
    ngx_str_t                            *stream = &global->conf->stream;
    const ngx_http_sluice_global_part_t  &part = global->parts[global->part];

    p = ngx_sprintf(p, "$%uz\r\n%V:edges\r\n", stream->len + sizeof(":edges") - 1, stream);

    size = stream->len + sizeof(":limit:") - 1 + part.zone->name.len + 1 + 16;

    for (ngx_uint_t i = 0; i < keys; i++) {
        p = ngx_sprintf(p, "$%uz\r\n%V:limit:%V:%016xL\r\n", size, stream, &part.zone->name,
                        part.teller.telling(i).name);
    }

    return p;
}


static u_char *
ngx_http_sluice_global_write_number(u_char *p, uint64_t number)
{
    u_char  *end, digits[NGX_INT64_LEN];

    end = ngx_sprintf(digits, "%uL", number);

    return ngx_sprintf(p, "$%uz\r\n%*s\r\n", static_cast<size_t>(end - digits),
                       static_cast<size_t>(end - digits), digits);
}


static void
ngx_http_sluice_global_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply)
{
    ngx_str_t                  text;
    ngx_uint_t                 learned, error;
    ngx_http_sluice_global_t  *global = ngx_queue_data(command, ngx_http_sluice_global_t, command);

    ngx_http_sluice_global_zone_t  *shared = &ngx_http_sluice_worker.zone->global;

    global->asked = 0;

    if (!global->telling) {
        /* the worker that took over counts it as told */
        return;
    }

    learned = outcome == NGX_HTTP_SLUICE_REPLIED
              && ngx_http_sluice_global_learn(global, *reply);

    if (global->keys) {
        global->parts[global->part].teller.done();
    }

    if (learned) {
        ngx_http_sluice_global_tell(global);
        return;
    }

    shared->failures++;

    if (outcome != NGX_HTTP_SLUICE_REPLIED) {
        return;
    }

    text = ngx_http_sluice_str(reply->type == sluice::ReplyType::kError
                               ? reply->text : "not what the script answers");

    if (ngx_http_sluice_log_allowed(NGX_HTTP_SLUICE_LOG_GLOBAL)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "limits of all edges are kept as shares, for Redis answered: %V", &text);
    }

    error = ngx_http_sluice_redis_error(reply->text);

    if (reply->type == sluice::ReplyType::kError && ngx_http_sluice_error_meanings[error].drop) {
        ngx_http_sluice_redis_fail(global->redis, "the address may lead to a better one");
    }
}


/* 0: it is not an answer of the script. */

static ngx_uint_t
ngx_http_sluice_global_learn(ngx_http_sluice_global_t *global, const sluice::Reply &reply)
{
    uint64_t                       edges;
    sluice::Reply                  element;
    std::string_view               elements = reply.text;
    ngx_http_sluice_global_zone_t *shared = &ngx_http_sluice_worker.zone->global;

    if (reply.type != sluice::ReplyType::kArray
        || reply.integer != static_cast<int64_t>(1 + global->keys)
        || !sluice::take_element(&elements, &element) || element.integer < 1)
    {
        return 0;
    }

    edges = element.integer;

    for (ngx_uint_t i = 0; i < global->keys; i++) {
        if (!sluice::take_element(&elements, &element)
            || element.type != sluice::ReplyType::kInteger || element.integer < 0)
        {
            return 0;
        }
        global->parts[global->part].teller.learned(i, element.integer,
                                                   ngx_http_sluice_limit_now());
    }

    shared->edges = ngx_min(edges, sluice::GlobalLimit::kEdgesMax);
    shared->heard = ngx_current_msec ? ngx_current_msec : 1;

    return 1;
}


/* In us. */

static uint64_t
ngx_http_sluice_global_owed_max(const ngx_http_sluice_limit_zone_t *zone)
{
    uint64_t                         most = 0;
    ngx_http_sluice_limit_t *const  *limits;

    limits = static_cast<ngx_http_sluice_limit_t *const *>(zone->limits.elts);

    for (ngx_uint_t i = 0; i < zone->limits.nelts; i++) {
        most = ngx_max(most, sluice::GlobalLimit::owed_max_ns(
                                 limits[i]->gcra, ngx_http_sluice_global_edges().alive));
    }

    return most / 1000;
}


static ngx_http_sluice_command_t *
ngx_http_sluice_global_on_probe(void)
{
    return NULL;
}


static void
ngx_http_sluice_global_on_ready(void)
{
    ngx_http_sluice_global_t  *global = ngx_http_sluice_worker.global;

    if (global->telling) {
        ngx_http_sluice_global_begin(global);
    }
}


static void
ngx_http_sluice_global_on_down(void)
{
    /* the share rules as soon as Redis has been silent for long enough */
}


static ngx_uint_t
ngx_http_sluice_global_on_wanted(void)
{
    return 0;
}

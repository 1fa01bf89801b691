#include "ngx_http_sluice_redis.hpp"

#include <charconv>

#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_log.hpp"


#define NGX_HTTP_SLUICE_CONNECT_TIMEOUT  1000
#define NGX_HTTP_SLUICE_RECONNECT_MIN    50
#define NGX_HTTP_SLUICE_RECONNECT_MAX    1000


enum ngx_http_sluice_redis_state_e : ngx_uint_t {
    NGX_HTTP_SLUICE_REDIS_IDLE = 0,    /* no connection, and nobody needs one */
    NGX_HTTP_SLUICE_REDIS_CONNECTING,
    NGX_HTTP_SLUICE_REDIS_GREETING,    /* login and probe are on their way */
    NGX_HTTP_SLUICE_REDIS_READY,
    NGX_HTTP_SLUICE_REDIS_DOWN         /* the next attempt waits for the timer */
};


struct ngx_http_sluice_redis_s {
    ngx_http_sluice_main_conf_t           *conf;
    const ngx_http_sluice_redis_events_t  *events;

    ngx_connection_t                      *connection;
    ngx_uint_t                             state;
    ngx_uint_t                             generation;  /* of the connection */

    /* commands in the order of their replies; from unsent on, bytes are left to be written */
    ngx_queue_t                            commands;
    ngx_http_sluice_command_t             *unsent;

    ngx_http_sluice_command_t              login;
    char                                  *login_text;
    ngx_uint_t                             login_replies;

    /* the attempt's deadline, or the pause before the next */
    ngx_event_t                            timer;
    ngx_uint_t                             failures;    /* attempts since it was last ready */
    ngx_log_t                              quiet_log;   /* failed attempts are told once, here */

    size_t                                 received;
    char                                   buffer[sluice::kReplyBytesMax];
};


static void ngx_http_sluice_redis_connect(ngx_http_sluice_redis_t *redis);
static void ngx_http_sluice_redis_connected(ngx_http_sluice_redis_t *redis);
static void ngx_http_sluice_redis_greeted(ngx_http_sluice_redis_t *redis);
static void ngx_http_sluice_redis_lost(ngx_http_sluice_redis_t *redis, const char *why,
    ngx_err_t err);
static void ngx_http_sluice_redis_close(ngx_http_sluice_redis_t *redis, ngx_uint_t state);
static void ngx_http_sluice_redis_down(ngx_http_sluice_redis_t *redis, const char *why,
    ngx_err_t err);
static void ngx_http_sluice_redis_queue(ngx_http_sluice_redis_t *redis,
    ngx_http_sluice_command_t *command);
static void ngx_http_sluice_redis_write(ngx_http_sluice_redis_t *redis);
static ngx_int_t ngx_http_sluice_redis_read_replies(ngx_http_sluice_redis_t *redis);
static void ngx_http_sluice_redis_rest(ngx_http_sluice_redis_t *redis);
static void ngx_http_sluice_redis_timer_handler(ngx_event_t *ev);
static void ngx_http_sluice_redis_read_handler(ngx_event_t *rev);
static void ngx_http_sluice_redis_write_handler(ngx_event_t *wev);
static void ngx_http_sluice_redis_login_reply(ngx_http_sluice_command_t *command,
    ngx_uint_t outcome, const sluice::Reply *reply);
static ngx_int_t ngx_http_sluice_redis_write_login(ngx_http_sluice_redis_t *redis,
    ngx_cycle_t *cycle);


ngx_http_sluice_redis_t *
ngx_http_sluice_redis_create(ngx_cycle_t *cycle, ngx_http_sluice_main_conf_t *conf,
    const ngx_http_sluice_redis_events_t *events)
{
    ngx_http_sluice_redis_t  *redis;

    redis = static_cast<ngx_http_sluice_redis_t *>(
        ngx_pcalloc(cycle->pool, sizeof(ngx_http_sluice_redis_t)));
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = conf;
    redis->events = events;
    ngx_queue_init(&redis->commands);

    if (ngx_http_sluice_redis_write_login(redis, cycle) != NGX_OK) {
        return NULL;
    }

    redis->quiet_log = *cycle->log;
    redis->quiet_log.log_level = NGX_LOG_ALERT;

    redis->timer.handler = ngx_http_sluice_redis_timer_handler;
    redis->timer.data = redis;
    redis->timer.log = cycle->log;
    redis->timer.cancelable = 1;

    /* in a new worker it stands where the master began to read the configuration */
    ngx_time_update();

    ngx_http_sluice_redis_connect(redis);

    return redis;
}


void
ngx_http_sluice_redis_destroy(ngx_http_sluice_redis_t *redis)
{
    if (redis->connection) {
        ngx_close_connection(redis->connection);
        redis->connection = NULL;
    }

    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }
}


ngx_uint_t
ngx_http_sluice_redis_ready(ngx_http_sluice_redis_t *redis)
{
    return redis->state == NGX_HTTP_SLUICE_REDIS_READY;
}


ngx_uint_t
ngx_http_sluice_redis_usable(ngx_http_sluice_redis_t *redis)
{
    if (redis->state == NGX_HTTP_SLUICE_REDIS_IDLE) {
        ngx_http_sluice_redis_connect(redis);
    }

    return redis->state == NGX_HTTP_SLUICE_REDIS_READY || redis->failures == 0;
}


void
ngx_http_sluice_redis_send(ngx_http_sluice_redis_t *redis, ngx_http_sluice_command_t *command)
{
    ngx_http_sluice_redis_queue(redis, command);
    ngx_http_sluice_redis_write(redis);
}


void
ngx_http_sluice_redis_fail(ngx_http_sluice_redis_t *redis, const char *why)
{
    if (redis->connection) {
        ngx_http_sluice_redis_lost(redis, why, 0);
    }
}


/* What every connection says first: who it is, which database, and a name for CLIENT LIST. */

static char *
ngx_http_sluice_redis_append(char *out, ngx_str_t *args, ngx_uint_t n)
{
    *out++ = '*';
    out = std::to_chars(out, out + NGX_INT64_LEN, n).ptr;
    out = reinterpret_cast<char *>(ngx_cpymem(out, "\r\n", 2));

    for (ngx_uint_t i = 0; i < n; i++) {
        *out++ = '$';
        out = std::to_chars(out, out + NGX_INT64_LEN, args[i].len).ptr;
        out = reinterpret_cast<char *>(ngx_cpymem(out, "\r\n", 2));
        out = reinterpret_cast<char *>(ngx_cpymem(out, args[i].data, args[i].len));
        out = reinterpret_cast<char *>(ngx_cpymem(out, "\r\n", 2));
    }

    return out;
}


static ngx_int_t
ngx_http_sluice_redis_write_login(ngx_http_sluice_redis_t *redis, ngx_cycle_t *cycle)
{
    char                         *out;
    u_char                        db[NGX_INT_T_LEN], name[64];
    ngx_http_sluice_main_conf_t  *conf = redis->conf;

    ngx_str_t  auth[] = { ngx_string("AUTH"), conf->redis_user, conf->redis_password };
    ngx_str_t  select[] = { ngx_string("SELECT"), { 0, db } };
    ngx_str_t  setname[] = { ngx_string("CLIENT"), ngx_string("SETNAME"), { 0, name } };

    /* the longest commands above, with room for their lengths */
    redis->login_text = static_cast<char *>(
        ngx_pnalloc(cycle->pool, 512 + conf->redis_user.len + conf->redis_password.len));
    if (redis->login_text == NULL) {
        return NGX_ERROR;
    }

    out = redis->login_text;

    if (conf->redis_password.len) {
        if (conf->redis_user.len) {
            out = ngx_http_sluice_redis_append(out, auth, 3);
        } else {
            auth[1] = auth[2];
            out = ngx_http_sluice_redis_append(out, auth, 2);
        }
        redis->login_replies++;
    }

    if (conf->redis_db) {
        select[1].len = ngx_sprintf(db, "%ui", conf->redis_db) - db;
        out = ngx_http_sluice_redis_append(out, select, 2);
        redis->login_replies++;
    }

    setname[2].len = ngx_sprintf(name, "sluice-edge-%P", ngx_pid) - name;
    out = ngx_http_sluice_redis_append(out, setname, 3);
    redis->login_replies++;

    redis->login.start = redis->login_text;
    redis->login.last = out;
    redis->login.handler = ngx_http_sluice_redis_login_reply;

    return NGX_OK;
}


static void
ngx_http_sluice_redis_connect(ngx_http_sluice_redis_t *redis)
{
    ngx_int_t              rc;
    ngx_connection_t      *c;
    ngx_peer_connection_t  pc;

    ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

    pc.sockaddr = redis->conf->redis_addr.sockaddr;
    pc.socklen = redis->conf->redis_addr.socklen;
    pc.name = &redis->conf->redis_addr.name;
    pc.get = ngx_event_get_peer;
    pc.log = &redis->quiet_log;
    pc.log_error = NGX_ERROR_ERR;

    rc = ngx_event_connect_peer(&pc);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        const ngx_err_t  err = ngx_socket_errno;

        if (pc.connection) {
            ngx_close_connection(pc.connection);
        }
        ngx_http_sluice_redis_down(redis, "cannot connect", err);
        return;
    }

    c = pc.connection;

    /* it outlives every request */
    c->log = ngx_cycle->log;
    c->read->log = c->log;
    c->write->log = c->log;

    c->data = redis;
    c->read->handler = ngx_http_sluice_redis_read_handler;
    c->write->handler = ngx_http_sluice_redis_write_handler;

    redis->connection = c;
    redis->generation++;
    redis->received = 0;
    redis->unsent = NULL;
    redis->state = NGX_HTTP_SLUICE_REDIS_CONNECTING;
    ngx_add_timer(&redis->timer, NGX_HTTP_SLUICE_CONNECT_TIMEOUT);

    if (rc == NGX_OK) {
        ngx_http_sluice_redis_connected(redis);
    }
}


static void
ngx_http_sluice_redis_connected(ngx_http_sluice_redis_t *redis)
{
    int                         err = 0, on = 1;
    unsigned                    timeout = redis->conf->timeout;
    socklen_t                   len = sizeof(int);
    ngx_connection_t           *c = redis->connection;
    ngx_http_sluice_command_t  *probe;

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_http_sluice_redis_lost(redis, "cannot connect", err);
        return;
    }

    if (redis->conf->redis_addr.sockaddr->sa_family != AF_UNIX) {
        (void) ngx_tcp_nodelay(c);
        (void) setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(int));
        (void) setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
    }

    redis->state = NGX_HTTP_SLUICE_REDIS_GREETING;
    redis->login.replies = redis->login_replies;
    ngx_http_sluice_redis_queue(redis, &redis->login);

    probe = redis->events->probe();
    if (probe) {
        ngx_http_sluice_redis_queue(redis, probe);
    }

    ngx_http_sluice_redis_write(redis);
}


static void
ngx_http_sluice_redis_login_reply(ngx_http_sluice_command_t *command, ngx_uint_t outcome,
    const sluice::Reply *reply)
{
    ngx_str_t                 text;
    ngx_http_sluice_redis_t  *redis = ngx_queue_data(command, ngx_http_sluice_redis_t, login);

    if (reply == NULL || reply->type != sluice::ReplyType::kError) {
        return;
    }

    text = ngx_http_sluice_str(reply->text);

    if (command->replies == 0) {
        /* only the name was refused, and nothing depends on it */
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0, "Redis refused CLIENT SETNAME: %V", &text);
        return;
    }

    /* told once an outage, as whatever else keeps a connection from being made */
    if (redis->failures == 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "Redis refused the login: %V", &text);
    }
    ngx_http_sluice_redis_lost(redis, "login refused", 0);
}


/* Every reply of the greeting has come. */

static void
ngx_http_sluice_redis_greeted(ngx_http_sluice_redis_t *redis)
{
    ngx_del_timer(&redis->timer);

    if (redis->failures) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "connected to Redis at %V after %ui failed attempts",
                      &redis->conf->redis_addr.name, redis->failures);
        redis->failures = 0;
    }

    ngx_http_sluice_worker.counters->redis_connects++;
    redis->state = NGX_HTTP_SLUICE_REDIS_READY;
    redis->events->ready();
}


/*
 * The commands that are left are taken aside before anyone is told, so that handlers may already
 * use the next connection.
 */

static void
ngx_http_sluice_redis_lost(ngx_http_sluice_redis_t *redis, const char *why, ngx_err_t err)
{
    const ngx_uint_t  was_ready = redis->state == NGX_HTTP_SLUICE_REDIS_READY;

    if (was_ready) {
        ngx_http_sluice_worker.counters->redis_losses++;
        if (ngx_http_sluice_log_allowed(NGX_HTTP_SLUICE_LOG_LOST)) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err, "connection to Redis at %V lost: %s",
                          &redis->conf->redis_addr.name, why);
        }
    }

    ngx_http_sluice_redis_close(redis, NGX_HTTP_SLUICE_REDIS_IDLE);

    if (redis->state != NGX_HTTP_SLUICE_REDIS_IDLE
        || (ngx_exiting && !redis->events->wanted()))
    {
        /* a handler connects already, or nobody needs a connection any more */
        return;
    }

    if (was_ready) {
        /* most often Redis was restarted: the first attempt need not wait */
        ngx_http_sluice_redis_connect(redis);

    } else {
        ngx_http_sluice_redis_down(redis, why, err);
    }
}


static void
ngx_http_sluice_redis_close(ngx_http_sluice_redis_t *redis, ngx_uint_t state)
{
    ngx_uint_t                  outcome;
    ngx_queue_t                 left, *q;
    ngx_http_sluice_command_t  *command;

    ngx_close_connection(redis->connection);
    redis->connection = NULL;
    redis->generation++;
    redis->unsent = NULL;
    redis->state = state;

    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }

    if (ngx_queue_empty(&redis->commands)) {
        return;
    }

    ngx_queue_init(&left);
    ngx_queue_add(&left, &redis->commands);
    ngx_queue_init(&redis->commands);

    while (!ngx_queue_empty(&left)) {
        q = ngx_queue_head(&left);
        ngx_queue_remove(q);

        command = ngx_queue_data(q, ngx_http_sluice_command_t, queue);
        outcome = command->pos == command->start ? NGX_HTTP_SLUICE_NOT_SENT
                                                 : NGX_HTTP_SLUICE_UNKNOWN;
        command->handler(command, outcome, NULL);
    }
}


static void
ngx_http_sluice_redis_down(ngx_http_sluice_redis_t *redis, const char *why, ngx_err_t err)
{
    ngx_msec_t  delay;

    ngx_http_sluice_worker.counters->redis_connect_failures++;

    if (redis->failures++ == 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err, "Redis at %V is down: %s",
                      &redis->conf->redis_addr.name, why);
    }

    delay = NGX_HTTP_SLUICE_RECONNECT_MIN << ngx_min(redis->failures - 1, 5);
    delay = ngx_min(delay, NGX_HTTP_SLUICE_RECONNECT_MAX);
    delay = delay * (80 + ngx_random() % 41) / 100;

    redis->state = NGX_HTTP_SLUICE_REDIS_DOWN;
    ngx_add_timer(&redis->timer, delay);

    redis->events->down();
}


static void
ngx_http_sluice_redis_timer_handler(ngx_event_t *ev)
{
    ngx_http_sluice_redis_t  *redis = static_cast<ngx_http_sluice_redis_t *>(ev->data);

    if (redis->state != NGX_HTTP_SLUICE_REDIS_DOWN) {
        ngx_http_sluice_redis_lost(redis, "no answer to the login in time", 0);
        return;
    }

    if (ngx_exiting && !redis->events->wanted()) {
        redis->state = NGX_HTTP_SLUICE_REDIS_IDLE;
        return;
    }

    ngx_http_sluice_redis_connect(redis);
}


static void
ngx_http_sluice_redis_queue(ngx_http_sluice_redis_t *redis, ngx_http_sluice_command_t *command)
{
    command->pos = command->start;
    ngx_queue_insert_tail(&redis->commands, &command->queue);

    if (redis->unsent == NULL) {
        redis->unsent = command;
    }

    redis->connection->idle = 0;
}


static void
ngx_http_sluice_redis_write(ngx_http_sluice_redis_t *redis)
{
    ssize_t                     n;
    ngx_queue_t                *next;
    ngx_connection_t           *c = redis->connection;
    ngx_http_sluice_command_t  *command;

    while (redis->unsent && c->write->ready) {
        command = redis->unsent;

        n = c->send(c, reinterpret_cast<u_char *>(const_cast<char *>(command->pos)),
                    command->last - command->pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_http_sluice_redis_lost(redis, "cannot write", 0);
            return;
        }

        command->pos += n;
        if (command->pos < command->last) {
            continue;
        }

        next = ngx_queue_next(&command->queue);
        redis->unsent = next == ngx_queue_sentinel(&redis->commands)
                        ? NULL : ngx_queue_data(next, ngx_http_sluice_command_t, queue);
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_sluice_redis_lost(redis, "cannot wait to write", 0);
    }
}


static void
ngx_http_sluice_redis_write_handler(ngx_event_t *wev)
{
    ngx_connection_t         *c = static_cast<ngx_connection_t *>(wev->data);
    ngx_http_sluice_redis_t  *redis = static_cast<ngx_http_sluice_redis_t *>(c->data);

    if (redis->state == NGX_HTTP_SLUICE_REDIS_CONNECTING) {
        ngx_http_sluice_redis_connected(redis);
        return;
    }

    ngx_http_sluice_redis_write(redis);
}


/* epoll tells once: everything that is there must be read. */

static void
ngx_http_sluice_redis_read_handler(ngx_event_t *rev)
{
    ssize_t                   n;
    ngx_connection_t         *c = static_cast<ngx_connection_t *>(rev->data);
    ngx_http_sluice_redis_t  *redis = static_cast<ngx_http_sluice_redis_t *>(c->data);

    if (c->close) {
        /* the worker leaves: at once if c->error, else it only asks connections that are idle */
        ngx_http_sluice_redis_close(redis, NGX_HTTP_SLUICE_REDIS_IDLE);
        return;
    }

    if (redis->state == NGX_HTTP_SLUICE_REDIS_CONNECTING) {
        ngx_http_sluice_redis_connected(redis);
        return;
    }

    while (rev->ready) {
        n = c->recv(c, reinterpret_cast<u_char *>(redis->buffer) + redis->received,
                    sizeof(redis->buffer) - redis->received);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_http_sluice_redis_lost(redis, n == 0 ? "closed by Redis" : "cannot read", 0);
            return;
        }

        redis->received += n;

        if (ngx_http_sluice_redis_read_replies(redis) != NGX_OK) {
            return;
        }
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_sluice_redis_lost(redis, "cannot wait to read", 0);
        return;
    }

    ngx_http_sluice_redis_rest(redis);
}


/* Gives out all replies that are whole. NGX_DONE if the connection is gone afterwards. */

static ngx_int_t
ngx_http_sluice_redis_read_replies(ngx_http_sluice_redis_t *redis)
{
    size_t                      used = 0;
    ngx_queue_t                *q;
    sluice::Reply               reply;
    sluice::ReplyStatus         status;
    const ngx_uint_t            generation = redis->generation;
    ngx_http_sluice_command_t  *command;

    for ( ;; ) {
        status = sluice::read_reply(redis->buffer + used, redis->received - used, &reply);

        if (status == sluice::ReplyStatus::kIncomplete) {
            break;
        }

        q = ngx_queue_head(&redis->commands);

        if (status == sluice::ReplyStatus::kBroken
            || ngx_queue_empty(&redis->commands)
            || ngx_queue_data(q, ngx_http_sluice_command_t, queue) == redis->unsent)
        {
            ngx_http_sluice_redis_lost(redis, "it does not speak Redis' protocol", 0);
            return NGX_DONE;
        }

        used += reply.bytes;

        command = ngx_queue_data(q, ngx_http_sluice_command_t, queue);
        if (--command->replies == 0) {
            ngx_queue_remove(q);
        }

        command->handler(command, NGX_HTTP_SLUICE_REPLIED, &reply);

        if (redis->generation != generation) {
            return NGX_DONE;
        }

        if (redis->state == NGX_HTTP_SLUICE_REDIS_GREETING && ngx_queue_empty(&redis->commands)) {
            ngx_http_sluice_redis_greeted(redis);
            if (redis->generation != generation) {
                return NGX_DONE;
            }
        }
    }

    redis->received -= used;
    ngx_memmove(redis->buffer, redis->buffer + used, redis->received);

    return NGX_OK;
}


/*
 * With no reply to come the connection is idle, which is how nginx asks it to close when the
 * worker is to leave; with one to come it must not be, or clients would lose their answers.
 */

static void
ngx_http_sluice_redis_rest(ngx_http_sluice_redis_t *redis)
{
    if (redis->state != NGX_HTTP_SLUICE_REDIS_READY || !ngx_queue_empty(&redis->commands)) {
        return;
    }

    redis->connection->idle = 1;

    if (ngx_exiting) {
        ngx_http_sluice_redis_close(redis, NGX_HTTP_SLUICE_REDIS_IDLE);
    }
}

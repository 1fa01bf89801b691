/*
 * The frames of this worker, from closing to their outcome: a few at once on their way to Redis,
 * those that must be sent again, and those that are free.
 *
 * A frame whose outcome is unknown, the connection having been lost before the reply, is sent again
 * under the same producer id until the deadline of its first request; that it may be in the stream
 * twice then is what the loader's ledger is for.
 */

#ifndef NGX_HTTP_SLUICE_FLIGHT_HPP
#define NGX_HTTP_SLUICE_FLIGHT_HPP

#include "ngx_http_sluice_frame.hpp"
#include "ngx_http_sluice_waiting.hpp"

/* On their way at once; more gain nothing, for frames grow while these are. */
#define NGX_HTTP_SLUICE_FRAMES  4

struct ngx_http_sluice_flight_s {
    ngx_http_sluice_waiting_t *waiting;
    ngx_event_t *flush;      /* posted when there may be something to send */
    ngx_queue_t free;
    ngx_queue_t again;       /* to be sent again, in their order */
    ngx_uint_t sent;         /* frames on their way */
    ngx_http_sluice_frame_t frames[NGX_HTTP_SLUICE_FRAMES + 1];
};

void ngx_http_sluice_flight_init(ngx_http_sluice_flight_t *flight,
    ngx_http_sluice_waiting_t *waiting, ngx_event_t *flush);
void ngx_http_sluice_flight_destroy(ngx_http_sluice_flight_t *flight);

/* An empty frame; NULL if every one is in use. */
ngx_http_sluice_frame_t *ngx_http_sluice_flight_take(ngx_http_sluice_flight_t *flight);

/* Whether a frame more may be on its way. */
ngx_uint_t ngx_http_sluice_flight_has_room(const ngx_http_sluice_flight_t *flight);

/* Only while Redis is ready. */
void ngx_http_sluice_flight_send(ngx_http_sluice_flight_t *flight,
    ngx_http_sluice_frame_t *frame);
void ngx_http_sluice_flight_send_again(ngx_http_sluice_flight_t *flight);

/* Answers those who wait in a frame that is not on its way, and frees it. */
void ngx_http_sluice_flight_give_up(ngx_http_sluice_flight_t *flight,
    ngx_http_sluice_frame_t *frame, ngx_http_sluice_trouble_e trouble);

/* Gives up frames that were to be sent again: all, or those of which no byte was sent yet. */
void ngx_http_sluice_flight_refuse_again(ngx_http_sluice_flight_t *flight,
    ngx_http_sluice_trouble_e trouble, ngx_uint_t all);
void ngx_http_sluice_flight_refuse_overdue(ngx_http_sluice_flight_t *flight);

/*
 * Tells the breaker what is still on its way. Gives the connection up if a reply is overdue, also
 * when nobody waits for it any more. It takes the frames behind it with it: replies have no names,
 * so none can be skipped.
 */
void ngx_http_sluice_flight_look(ngx_http_sluice_flight_t *flight);

#endif

/*
 * What one kind of work has taken in this turn of the event loop. Who may have more to do than a
 * turn should take looks here before each step, and goes on in the next turn.
 */

#ifndef NGX_HTTP_SLUICE_TURN_HPP
#define NGX_HTTP_SLUICE_TURN_HPP

#include "ngx_http_sluice.hpp"

struct ngx_http_sluice_turn_s {
    ngx_event_t next;    /* comes in the next turn */
    uint64_t spent_us;
};

/* For work that goes on by itself: the next turn only begins anew. */
ngx_http_sluice_turn_t *ngx_http_sluice_turn_create(ngx_cycle_t *cycle);

ngx_uint_t ngx_http_sluice_turn_is_over(const ngx_http_sluice_turn_t *turn);

/* Returns the time that it is now. */
uint64_t ngx_http_sluice_turn_charge(ngx_http_sluice_turn_t *turn, uint64_t since_us);

#endif

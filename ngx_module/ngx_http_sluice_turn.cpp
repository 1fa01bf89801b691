#include "ngx_http_sluice_turn.hpp"

#include "ngx_http_sluice_frame.hpp"


#define NGX_HTTP_SLUICE_TURN_US  1000


static void ngx_http_sluice_turn_next(ngx_event_t *ev);


ngx_http_sluice_turn_t *
ngx_http_sluice_turn_create(ngx_cycle_t *cycle)
{
    ngx_http_sluice_turn_t  *turn;

    turn = static_cast<ngx_http_sluice_turn_t *>(
        ngx_pcalloc(cycle->pool, sizeof(ngx_http_sluice_turn_t)));
    if (turn == NULL) {
        return NULL;
    }

    turn->next.handler = ngx_http_sluice_turn_next;
    turn->next.data = turn;
    turn->next.log = cycle->log;

    return turn;
}


ngx_uint_t
ngx_http_sluice_turn_is_over(const ngx_http_sluice_turn_t *turn)
{
    return turn->spent_us >= NGX_HTTP_SLUICE_TURN_US;
}


uint64_t
ngx_http_sluice_turn_charge(ngx_http_sluice_turn_t *turn, uint64_t since_us)
{
    uint64_t  now_us = ngx_http_sluice_now_us();

    turn->spent_us += now_us - since_us;

    if (!turn->next.posted) {
        ngx_post_event(&turn->next, &ngx_posted_next_events);
    }

    return now_us;
}


static void
ngx_http_sluice_turn_next(ngx_event_t *ev)
{
    ngx_http_sluice_turn_t  *turn = static_cast<ngx_http_sluice_turn_t *>(ev->data);

    turn->spent_us = 0;
}

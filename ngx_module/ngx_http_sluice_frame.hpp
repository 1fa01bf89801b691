/*
 * A frame in the edge: rows of several requests in one buffer, from which they are sent as they
 * stand.
 */

#ifndef NGX_HTTP_SLUICE_FRAME_HPP
#define NGX_HTTP_SLUICE_FRAME_HPP

#include "ngx_http_sluice.hpp"
#include "ngx_http_sluice_redis.hpp"
#include "ngx_http_sluice_waiting.hpp"

/* A frame takes no further request once it has reached one of these. */
#define NGX_HTTP_SLUICE_FRAME_BYTES    (1024 * 1024)
#define NGX_HTTP_SLUICE_FRAME_RECORDS  20000

/*
 *    buffer              rows                     rows + size         buffer + capacity
 *    | room for the head | n rows of all requests | room for the tail |
 */

typedef struct ngx_http_sluice_flight_s ngx_http_sluice_flight_t;

struct ngx_http_sluice_frame_s {
    ngx_http_sluice_flight_t *flight;
    ngx_queue_t queue;       /* among the free, or those to be sent again */
    ngx_http_sluice_command_t command;
    ngx_queue_t requests;    /* in the order of their records; the gone have left */

    char *buffer;
    size_t capacity;
    size_t size;             /* of the rows */
    uint32_t records;

    sluice::ProducerId id;   /* the same however often it is sent */
    int64_t time_ms;
    ngx_msec_t deadline;     /* of the request that opened it */
    uint64_t sent_us;
    sluice::Breaker::Era sent_in;

    unsigned keyed:1;        /* one request with an Idempotency-Key, and no other */
    unsigned sent:1;
    unsigned maybe_stored:1; /* it was sent before, and what came of that is unknown */
};

void ngx_http_sluice_frame_open(ngx_http_sluice_frame_t *frame);

/* Room for size more bytes of rows; returns where they go, or NULL. */
char *ngx_http_sluice_frame_make_room(ngx_http_sluice_frame_t *frame, size_t size);

/* Where the rows of a request in a frame are. */
static inline std::string_view
ngx_http_sluice_frame_rows(const ngx_http_sluice_ctx_t *ctx)
{
    return std::string_view(ctx->frame->buffer + sluice::kFrameHeadBytesMax + ctx->rows_at,
                            ctx->rows_bytes);
}

/* By when it must have been answered; those that wait count, not those that are gone. */
ngx_uint_t ngx_http_sluice_frame_overdue(const ngx_http_sluice_frame_t *frame);
ngx_msec_t ngx_http_sluice_frame_deadline(const ngx_http_sluice_frame_t *frame);

ngx_uint_t ngx_http_sluice_frame_full(const ngx_http_sluice_frame_t *frame);

/* Makes the command around the rows. */
void ngx_http_sluice_frame_close(ngx_http_sluice_frame_t *frame, const ngx_str_t &stream);

/* Gives an unusually large buffer back, or with all set any. */
void ngx_http_sluice_frame_release(ngx_http_sluice_frame_t *frame, ngx_uint_t all);

uint64_t ngx_http_sluice_now_us(void);

#endif

#include "ngx_http_sluice_frame.hpp"

#include <ctime>


/* Buffers grow with the largest frames so far; beyond this they are given back. */
#define NGX_HTTP_SLUICE_BUFFER_MIN   (64 * 1024)
#define NGX_HTTP_SLUICE_BUFFER_KEPT  (4 * NGX_HTTP_SLUICE_FRAME_BYTES)


void
ngx_http_sluice_frame_open(ngx_http_sluice_frame_t *frame)
{
    frame->size = 0;
    frame->records = 0;
    frame->keyed = 0;
    frame->sent = 0;
    frame->maybe_stored = 0;
}


char *
ngx_http_sluice_frame_make_room(ngx_http_sluice_frame_t *frame, size_t size)
{
    char    *buffer;
    size_t   used = sluice::kFrameHeadBytesMax + frame->size;
    size_t   need = used + size + sluice::kFrameTailBytes;

    if (need > frame->capacity) {
        need = ngx_max(need, 2 * frame->capacity);
        need = ngx_max(need, NGX_HTTP_SLUICE_BUFFER_MIN);

        buffer = static_cast<char *>(ngx_alloc(need, ngx_cycle->log));
        if (buffer == NULL) {
            return NULL;
        }

        if (frame->buffer) {
            ngx_memcpy(buffer, frame->buffer, used);
            ngx_free(frame->buffer);
        }

        frame->buffer = buffer;
        frame->capacity = need;
    }

    return frame->buffer + used;
}


ngx_msec_t
ngx_http_sluice_frame_deadline(const ngx_http_sluice_frame_t *frame)
{
    return ngx_queue_empty(&frame->requests) ? frame->deadline
                                             : ngx_http_sluice_first(&frame->requests)->deadline;
}


ngx_uint_t
ngx_http_sluice_frame_overdue(const ngx_http_sluice_frame_t *frame)
{
    return ngx_http_sluice_is_past(ngx_http_sluice_frame_deadline(frame));
}


ngx_uint_t
ngx_http_sluice_frame_full(const ngx_http_sluice_frame_t *frame)
{
    return frame->keyed || frame->size >= NGX_HTTP_SLUICE_FRAME_BYTES
           || frame->records >= NGX_HTTP_SLUICE_FRAME_RECORDS;
}


void
ngx_http_sluice_frame_close(ngx_http_sluice_frame_t *frame, const ngx_str_t &stream)
{
    char                       *rows = frame->buffer + sluice::kFrameHeadBytesMax;
    sluice::FrameHead           head;
    ngx_http_sluice_command_t  *command = &frame->command;

    head.stream = ngx_http_sluice_view(stream);
    head.producer_id = frame->id;
    head.receive_time_ms = frame->time_ms;
    head.records = frame->records;
    head.rows_bytes = frame->size;

    command->start = sluice::write_frame_head(head, rows);
    command->last = sluice::write_frame_tail(rows + frame->size);
}


void
ngx_http_sluice_frame_release(ngx_http_sluice_frame_t *frame, ngx_uint_t all)
{
    if (frame->buffer && (all || frame->capacity > NGX_HTTP_SLUICE_BUFFER_KEPT)) {
        ngx_free(frame->buffer);
        frame->buffer = NULL;
        frame->capacity = 0;
    }
}


uint64_t
ngx_http_sluice_now_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return static_cast<uint64_t>(ts.tv_sec) * 1000000 + ts.tv_nsec / 1000;
}

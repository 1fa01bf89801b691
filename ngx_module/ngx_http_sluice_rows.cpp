#include "ngx_http_sluice_rows.hpp"

#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_gate.hpp"
#include "ngx_http_sluice_limit.hpp"


/* The gates as the parser asks them, one record after the other. */

class ngx_http_sluice_record_gate_c final : public sluice::RecordGate {
  public:
    ngx_http_sluice_record_gate_c(ngx_http_sluice_ctx_t *ctx, const char *rows) noexcept
        : ctx_(ctx), rows_(rows) {}

    bool admits(uint32_t index, sluice::Level level, std::string_view row) noexcept override;

    /* A body that turns out to be broken further on is refused with all its records. */
    void give_back() noexcept;

  private:
    void withhold(uint32_t index, ngx_http_sluice_trouble_e trouble) noexcept;

    ngx_http_sluice_ctx_t  *ctx_;
    const char             *rows_;
    size_t                  size_ = 0;
    ngx_uint_t              records_ = 0;
};


static ngx_int_t ngx_http_sluice_rows_parse(sluice::JsonRows *json, ngx_http_sluice_ctx_t *ctx,
    char *rows, size_t *size);
static void ngx_http_sluice_rows_count(const ngx_http_sluice_ctx_t *ctx,
    const sluice::BodyRows &body);
static ngx_int_t ngx_http_sluice_rows_refuse_withheld(ngx_http_sluice_ctx_t *ctx);


size_t
ngx_http_sluice_rows_room(const ngx_http_sluice_ctx_t *ctx)
{
    return ctx->held_rows.empty() ? sluice::rows_bytes_max(ctx->body.size())
                                  : ctx->held_rows.size();
}


ngx_int_t
ngx_http_sluice_rows_write(sluice::JsonRows *json, ngx_http_sluice_ctx_t *ctx, char *rows,
    size_t *size)
{
    if (ctx->held_rows.empty()) {
        return ngx_http_sluice_rows_parse(json, ctx, rows, size);
    }

    /* they passed the gates before they were held */
    *size = ctx->held_rows.size();
    ngx_memcpy(rows, ctx->held_rows.data(), *size);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_sluice_rows_parse(sluice::JsonRows *json, ngx_http_sluice_ctx_t *ctx, char *rows,
    size_t *size)
{
    char                           *end;
    sluice::BodyRows                body;
    sluice::BodyLimits              limits;
    ngx_http_sluice_trouble_e       trouble;
    ngx_http_sluice_record_gate_c   gate(ctx, rows);

    limits.records_max = ctx->conf->records_max;
    limits.record_bytes_max = ctx->conf->record_bytes_max;
    limits.unknown_fields_refused = ctx->conf->unknown_fields != 0;
    limits.partial = ctx->partial;
    limits.gate = ctx->one_by_one ? &gate : NULL;

    end = json->parse(ctx->shape, ctx->body, limits, rows, &body);

    ctx->records = body.records;
    ngx_http_sluice_rows_count(ctx, body);

    if (body.refusal != sluice::Refusal::kNone) {
        gate.give_back();
        return ngx_http_sluice_answer_refusal(ctx, body);
    }

    if (body.rows == 0) {
        return ngx_http_sluice_rows_refuse_withheld(ctx);
    }

    ctx->level = static_cast<sluice::Level>(body.highest_level);

    if (!ctx->one_by_one) {
        trouble = ngx_http_sluice_gate_records(ctx, ctx->level,
                                               std::string_view(rows, end - rows), body.rows);
        if (trouble != NGX_HTTP_SLUICE_TROUBLES) {
            return ngx_http_sluice_answer_trouble(ctx->request, trouble);
        }
    }

    if (ctx->partial
        && ((ctx->withheld && ctx->withheld->no_memory)
            || ngx_http_sluice_answer_keep_rejected(ctx, body) != NGX_OK))
    {
        ngx_http_sluice_limit_give_back(ctx, std::string_view(rows, end - rows), body.rows);
        return ngx_http_sluice_answer_trouble(ctx->request, NGX_HTTP_SLUICE_NO_MEMORY);
    }

    ctx->records = body.rows;
    ngx_http_sluice_worker.counters->nuls_replaced += body.nuls_replaced;
    ngx_http_sluice_worker.counters->unknown_fields += body.unknown_fields;

    *size = end - rows;

    return NGX_DONE;
}


static void
ngx_http_sluice_rows_count(const ngx_http_sluice_ctx_t *ctx, const sluice::BodyRows &body)
{
    ngx_http_sluice_counters_t  *counters = ngx_http_sluice_worker.counters;

    counters->body_bytes += ctx->body.size();

    for (ngx_uint_t i = 0; body.bad_records && i < sluice::kRefusalCount; i++) {
        counters->bad_records[i] += body.bad_by_refusal[i];
    }
}


static ngx_int_t
ngx_http_sluice_rows_refuse_withheld(ngx_http_sluice_ctx_t *ctx)
{
    const ngx_http_sluice_withheld_t  *withheld = ctx->withheld;

    if (withheld == NULL) {
        return ngx_http_sluice_answer_trouble(ctx->request, NGX_HTTP_SLUICE_NO_MEMORY);
    }

    ctx->limited_by = withheld->limited_by;
    ctx->limit_remaining = withheld->limit_remaining;
    ctx->retry_after = withheld->retry_after;

    return ngx_http_sluice_answer_trouble(ctx->request, withheld->trouble);
}


bool
ngx_http_sluice_record_gate_c::admits(uint32_t index, sluice::Level level,
    std::string_view row) noexcept
{
    const ngx_http_sluice_trouble_e  trouble = ngx_http_sluice_gate_records(ctx_, level, row, 1);

    if (trouble != NGX_HTTP_SLUICE_TROUBLES) {
        withhold(index, trouble);
        return false;
    }

    size_ += row.size();
    records_++;

    return true;
}


void
ngx_http_sluice_record_gate_c::give_back() noexcept
{
    ngx_http_sluice_limit_give_back(ctx_, std::string_view(rows_, size_), records_);
}


void
ngx_http_sluice_record_gate_c::withhold(uint32_t index, ngx_http_sluice_trouble_e trouble) noexcept
{
    ngx_pool_t                  *pool = ctx_->request->pool;
    ngx_http_sluice_range_t     *range;
    ngx_http_sluice_withheld_t  *withheld = ctx_->withheld;

    if (withheld == NULL) {
        withheld = static_cast<ngx_http_sluice_withheld_t *>(
            ngx_pcalloc(pool, sizeof(ngx_http_sluice_withheld_t)));
        if (withheld == NULL
            || ngx_array_init(&withheld->ranges, pool, 8, sizeof(ngx_http_sluice_range_t))
               != NGX_OK)
        {
            return;
        }

        ctx_->withheld = withheld;
    }

    /* of all of them, one that may be sent again stands for the others */
    if (withheld->count == 0 || withheld->trouble == NGX_HTTP_SLUICE_LARGER_THAN_LIMIT) {
        withheld->trouble = trouble;
        withheld->limited_by = ngx_http_sluice_is_limit_trouble(trouble) ? ctx_->limited_by : NULL;
        withheld->limit_remaining = ctx_->limit_remaining;
    }

    withheld->count++;
    withheld->retry_after = ngx_max(withheld->retry_after, ctx_->retry_after);

    /* what may become of the others is another matter */
    ctx_->limited_by = withheld->limited_by;
    ctx_->retry_after = 0;

    range = static_cast<ngx_http_sluice_range_t *>(withheld->ranges.elts)
            + withheld->ranges.nelts - 1;

    if (withheld->ranges.nelts && range->last + 1 == index) {
        range->last = index;
        return;
    }

    range = static_cast<ngx_http_sluice_range_t *>(ngx_array_push(&withheld->ranges));
    if (range == NULL) {
        withheld->no_memory = 1;
        return;
    }

    *range = { index, index };
}

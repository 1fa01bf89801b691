#include "ngx_http_sluice_answer.hpp"

#include <charconv>
#include <cstring>

#include "common/json_text.hpp"
#include "common/problem.hpp"
#include "common/timestamp.hpp"
#include "ngx_http_sluice_counters.hpp"
#include "ngx_http_sluice_limit.hpp"
#include "ngx_http_sluice_rows.hpp"
#include "ngx_http_sluice_shed.hpp"


typedef struct {
    int          status;
    const char  *code;
    const char  *detail;       /* NULL = depends on what is shed */
    ngx_uint_t   retry_after;  /* seconds; 0 = it would not help */
} ngx_http_sluice_trouble_t;


/* by ngx_http_sluice_trouble_e */
static const ngx_http_sluice_trouble_t  ngx_http_sluice_troubles[] = {
    { 405, "method_not_allowed", "records are sent with POST", 0 },
    { 415, "unsupported_media_type",
      "the Content-Type must be application/json, in UTF-8", 0 },
    { 415, "unsupported_content_encoding",
      "the Content-Encoding must be gzip or deflate, or left out", 0 },
    { 400, "bad_idempotency_key",
      "Idempotency-Key must be one header of 1 to 255 printable ASCII characters", 0 },
    { 425, "too_early", "records are not taken from TLS early data, which can be replayed", 0 },
    { 413, "body_too_large", "the body did not fit into the memory set aside for it", 0 },
    { 400, "bad_compression", "the body is not what its Content-Encoding says", 0 },
    { 413, "inflated_too_large", "the body inflates to more than is taken", 0 },
    { 503, "breaker_open",
      "the log store was failing and is given a pause; nothing was stored, send again later", 1 },
    { 503, "redis_unavailable",
      "the log store cannot be reached; nothing was stored, send again later", 2 },
    { 503, "redis_timeout",
      "the log store does not answer; nothing was stored, send again later", 5 },
    { 503, "redis_refused",
      "the log store refuses writes; nothing was stored, send again later", 5 },
    { 503, "redis_full",
      "the log store is full; nothing was stored, send again later", 10 },
    { 503, "outcome_unknown",
      "the log store was lost before it confirmed: the records may or may not be stored", 2 },
    { 503, "durability_below_minimum",
      "the log store is not as durable as it must be; nothing was stored, send again later", 10 },
    { 503, "too_many_inflight",
      "too many requests are waiting; nothing was stored, send again later", 1 },
    { 503, "overloaded", NULL, 10 },
    { 503, "shed", NULL, 10 },
    { 429, "rate_limited",
      "more than is allowed was sent; nothing was stored, send again later", 1 },
    { 429, "limit_table_full",
      "too many clients are counted for one more; nothing was stored, send again later", 1 },
    { 413, "larger_than_limit",
      "this is more than the limit ever lets pass at once: send less in one request", 0 },
    { 503, "no_memory", "the server is out of memory; nothing was stored, send again later", 5 }
};

static ngx_str_t  ngx_http_sluice_json_type = ngx_string("application/json");
static ngx_str_t  ngx_http_sluice_problem_type = ngx_string("application/problem+json");


static_assert(sizeof(ngx_http_sluice_troubles) / sizeof(ngx_http_sluice_troubles[0])
                  == NGX_HTTP_SLUICE_TROUBLES,
              "a text for every trouble");


static void ngx_http_sluice_answer_count(ngx_http_request_t *r, ngx_uint_t code);
static ngx_int_t ngx_http_sluice_answer_problem(ngx_http_request_t *r,
    const sluice::Problem &problem, size_t members, ngx_buf_t **b);
static ngx_int_t ngx_http_sluice_answer_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t value);
static ngx_int_t ngx_http_sluice_answer_retry_after(ngx_http_sluice_ctx_t *ctx,
    ngx_uint_t seconds);
static ngx_int_t ngx_http_sluice_answer_rate_limit(ngx_http_sluice_ctx_t *ctx);
static char *ngx_http_sluice_answer_errors(char *out, const ngx_http_sluice_ctx_t *ctx,
    const sluice::BodyRows &rows);
static size_t ngx_http_sluice_answer_withheld_bytes(const ngx_http_sluice_ctx_t *ctx);
static char *ngx_http_sluice_answer_withheld(char *out, const ngx_http_sluice_ctx_t *ctx);

/* At most, of an error in an answer. */
#define NGX_HTTP_SLUICE_ERROR_BYTES  512
#define NGX_HTTP_SLUICE_SEEN_BYTES   40

/* Who is told to stay away for longer may as well be gone. */
#define NGX_HTTP_SLUICE_RETRY_MAX    60


static char *
ngx_http_sluice_append(char *out, std::string_view text)
{
    std::memcpy(out, text.data(), text.size());
    return out + text.size();
}


static char *
ngx_http_sluice_append_number(char *out, uint64_t number)
{
    return std::to_chars(out, out + NGX_INT64_LEN, number).ptr;
}


/* The trouble that a code stands for, or NULL. */

static const ngx_http_sluice_trouble_t *
ngx_http_sluice_code_trouble(ngx_uint_t code)
{
    return code >= 1 && code <= NGX_HTTP_SLUICE_TROUBLES ? &ngx_http_sluice_troubles[code - 1]
                                                         : NULL;
}


const char *
ngx_http_sluice_code_name(ngx_uint_t code)
{
    const ngx_http_sluice_trouble_t  *trouble = ngx_http_sluice_code_trouble(code);

    if (trouble) {
        return trouble->code;
    }

    if (code == NGX_HTTP_SLUICE_CODE_QUEUED) {
        return "queued";
    }

    return sluice::refusal_text(static_cast<sluice::Refusal>(code - NGX_HTTP_SLUICE_TROUBLES)).code;
}


ngx_str_t
ngx_http_sluice_code_status(const ngx_http_sluice_ctx_t *ctx)
{
    const char                       *status;
    const ngx_http_sluice_trouble_t  *trouble = ngx_http_sluice_code_trouble(ctx->code);

    if (!ctx->answered) {
        status = "abandoned";

    } else if (ctx->code == NGX_HTTP_SLUICE_CODE_QUEUED) {
        status = "queued";

    } else if (trouble == &ngx_http_sluice_troubles[NGX_HTTP_SLUICE_OUTCOME_UNKNOWN]) {
        status = "unknown";

    } else if (ctx->code == 1 + NGX_HTTP_SLUICE_OVERLOADED
               || ctx->code == 1 + NGX_HTTP_SLUICE_SHED)
    {
        status = "shed";

    } else if (trouble && trouble->status == 429) {
        status = "limited";

    } else {
        status = trouble && trouble->status == 503 ? "unavailable" : "refused";
    }

    return ngx_http_sluice_str(status);
}


/* Once a request, before the answer is sent: what can go wrong after it is only the sending. */

static void
ngx_http_sluice_answer_count(ngx_http_request_t *r, ngx_uint_t code)
{
    ngx_http_sluice_ctx_t  *ctx;

    ngx_http_sluice_worker.counters->answers[code]++;

    ctx = static_cast<ngx_http_sluice_ctx_t *>(
        ngx_http_get_module_ctx(r, ngx_http_sluice_module));

    ctx->code = code;
    ctx->answered = 1;
}


ngx_int_t
ngx_http_sluice_answer_trouble(ngx_http_request_t *r, ngx_http_sluice_trouble_e trouble)
{
    const char             *detail = ngx_http_sluice_troubles[trouble].detail;
    ngx_http_sluice_ctx_t  *ctx;

    ctx = static_cast<ngx_http_sluice_ctx_t *>(
        ngx_http_get_module_ctx(r, ngx_http_sluice_module));

    return ngx_http_sluice_answer_trouble_detail(r, trouble,
                                                 detail ? detail
                                                        : ngx_http_sluice_shed_detail(ctx));
}


ngx_int_t
ngx_http_sluice_answer_trouble_detail(ngx_http_request_t *r, ngx_http_sluice_trouble_e trouble,
    std::string_view detail)
{
    char                             *out;
    ngx_buf_t                        *b;
    ngx_str_t                         text, post = ngx_string("POST");
    sluice::Problem                   problem;
    std::string_view                  limit;
    ngx_http_sluice_ctx_t            *ctx;
    const ngx_http_sluice_trouble_t  *t = &ngx_http_sluice_troubles[trouble];

    ngx_http_sluice_answer_count(r, 1 + trouble);

    ctx = static_cast<ngx_http_sluice_ctx_t *>(
        ngx_http_get_module_ctx(r, ngx_http_sluice_module));

    problem = { t->status, t->code, detail };

    if (t->status == NGX_HTTP_TOO_MANY_REQUESTS) {
        problem.status = ctx->conf->limit_status;
    }

    if (t->retry_after && ngx_http_sluice_answer_retry_after(ctx, t->retry_after) != NGX_OK) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    if (trouble == NGX_HTTP_SLUICE_WRONG_METHOD
        && ngx_http_sluice_answer_add_header(r, "Allow", post) != NGX_OK)
    {
        return NGX_HTTP_NOT_ALLOWED;
    }

    if (ngx_http_sluice_is_limit_trouble(trouble)) {
        limit = ngx_http_sluice_limit_name(ctx->limited_by);

        if (ngx_http_sluice_limit_detail(ctx, trouble, &text) != NGX_OK
            || ngx_http_sluice_answer_rate_limit(ctx) != NGX_OK)
        {
            return problem.status;
        }

        problem.detail = ngx_http_sluice_view(text);
    }

    /* a member: limit */
    if (ngx_http_sluice_answer_problem(r, problem, 32 + limit.size(), &b) != NGX_OK) {
        return problem.status;
    }

    out = reinterpret_cast<char *>(b->last);
    if (!limit.empty()) {
        out = ngx_http_sluice_append(out, ",\"limit\":\"");
        out = ngx_http_sluice_append(out, limit);
        *out++ = '"';
    }
    *out++ = '}';
    b->last = reinterpret_cast<u_char *>(out);

    return ngx_http_sluice_answer_send(r, problem.status, ngx_http_sluice_problem_type, b);
}


/*
 * What a gate knows is exact. All else is spread, so that clients that were refused together do not
 * come back together.
 */

static ngx_int_t
ngx_http_sluice_answer_retry_after(ngx_http_sluice_ctx_t *ctx, ngx_uint_t seconds)
{
    u_char     *p;
    ngx_str_t   value;

    p = static_cast<u_char *>(ngx_pnalloc(ctx->request->pool, NGX_INT_T_LEN));
    if (p == NULL) {
        return NGX_ERROR;
    }

    seconds = ctx->retry_after ? ngx_min(ctx->retry_after, NGX_HTTP_SLUICE_RETRY_MAX)
                               : seconds + ngx_random() % (seconds + 1);

    value.data = p;
    value.len = ngx_sprintf(p, "%ui", seconds) - p;

    return ngx_http_sluice_answer_add_header(ctx->request, "Retry-After", value);
}


/* The headers of draft-ietf-httpapi-ratelimit-headers. */

static ngx_int_t
ngx_http_sluice_answer_rate_limit(ngx_http_sluice_ctx_t *ctx)
{
    ngx_str_t  policy, state;

    if (ngx_http_sluice_limit_headers(ctx, &policy, &state) != NGX_OK
        || ngx_http_sluice_answer_add_header(ctx->request, "RateLimit-Policy", policy) != NGX_OK
        || ngx_http_sluice_answer_add_header(ctx->request, "RateLimit", state) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_sluice_answer_refusal(ngx_http_sluice_ctx_t *ctx, const sluice::BodyRows &rows)
{
    char                       *out;
    u_char                     *end, detail[256], *last = detail + sizeof(detail);
    ngx_buf_t                  *b;
    sluice::Problem             problem;
    ngx_http_request_t         *r = ctx->request;
    const ngx_uint_t            batch = ctx->conf->ingest == NGX_HTTP_SLUICE_BATCH;
    const sluice::RefusalText  &text = sluice::refusal_text(rows.refusal);

    if (rows.refusal == sluice::Refusal::kNoMemory) {
        return ngx_http_sluice_answer_trouble(r, NGX_HTTP_SLUICE_NO_MEMORY);
    }

    ngx_http_sluice_answer_count(r, NGX_HTTP_SLUICE_TROUBLES
                                    + static_cast<ngx_uint_t>(rows.refusal));

    if (rows.refused_for_records()) {
        const sluice::RecordError  &error = rows.errors[0];

        end = detail;
        if (batch) {
            end = ngx_sprintf(end, "record %uD: ", error.index);
        }
        if (error.field != sluice::RecordField::kNone) {
            end = ngx_sprintf(end, "%s: ", sluice::field_name(error.field));
        }
        end = ngx_slprintf(end, last, "%s", text.rule);
        if (rows.refusal == sluice::Refusal::kRecordTooLarge) {
            end = ngx_slprintf(end, last, " (%uz bytes)", ctx->conf->record_bytes_max);
        }

    } else if (rows.refusal == sluice::Refusal::kTooManyRecords) {
        end = ngx_slprintf(detail, last, "%s (%ui)", text.rule, ctx->conf->records_max);

    } else {
        end = ngx_slprintf(detail, last, "%s; it broke at byte %uD of %uz", text.rule,
                           rows.offset, ctx->body.size());
    }

    problem.status = text.status;
    problem.code = text.code;
    problem.detail = std::string_view(reinterpret_cast<char *>(detail), end - detail);

    /* members: offset, bad_records, errors */
    if (ngx_http_sluice_answer_problem(r, problem,
                                       128 + rows.errors_kept * NGX_HTTP_SLUICE_ERROR_BYTES, &b)
        != NGX_OK)
    {
        return text.status;
    }

    out = reinterpret_cast<char *>(b->last);
    out = ngx_http_sluice_append(out, ",\"offset\":");
    out = ngx_http_sluice_append_number(out, rows.offset);
    if (rows.errors_kept) {
        if (batch) {
            out = ngx_http_sluice_append(out, ",\"bad_records\":");
            out = ngx_http_sluice_append_number(out, rows.bad_records);
        }
        out = ngx_http_sluice_answer_errors(out, ctx, rows);
    }
    *out++ = '}';
    b->last = reinterpret_cast<u_char *>(out);

    return ngx_http_sluice_answer_send(r, text.status, ngx_http_sluice_problem_type, b);
}


static char *
ngx_http_sluice_answer_errors(char *out, const ngx_http_sluice_ctx_t *ctx,
    const sluice::BodyRows &rows)
{
    std::string_view  seen;

    out = ngx_http_sluice_append(out, ",\"errors\":[");

    for (uint32_t i = 0; i < rows.errors_kept; i++) {
        const sluice::RecordError  &error = rows.errors[i];
        const sluice::RefusalText  &text = sluice::refusal_text(error.refusal);

        out = ngx_http_sluice_append(out, i ? ",{" : "{");
        if (ctx->conf->ingest == NGX_HTTP_SLUICE_BATCH) {
            out = ngx_http_sluice_append(out, "\"index\":");
            out = ngx_http_sluice_append_number(out, error.index);
            *out++ = ',';
        }
        out = ngx_http_sluice_append(out, "\"field\":\"");
        out = ngx_http_sluice_append(out, sluice::field_name(error.field));
        out = ngx_http_sluice_append(out, "\",\"code\":\"");
        out = ngx_http_sluice_append(out, text.code);
        out = ngx_http_sluice_append(out, "\",\"rule\":\"");
        out = sluice::json_escape(text.rule, out);
        if (error.refusal != sluice::Refusal::kMissing) {
            seen = sluice::json_excerpt(ctx->body, error.offset, NGX_HTTP_SLUICE_SEEN_BYTES);
            out = ngx_http_sluice_append(out, "\",\"seen\":\"");
            out = sluice::json_escape(seen, out);
        }
        out = ngx_http_sluice_append(out, "\",\"offset\":");
        out = ngx_http_sluice_append_number(out, error.offset);
        *out++ = '}';
    }

    return ngx_http_sluice_append(out, "]");
}


ngx_int_t
ngx_http_sluice_answer_keep_rejected(ngx_http_sluice_ctx_t *ctx, const sluice::BodyRows &rows)
{
    char    *out;
    u_char  *p;

    p = static_cast<u_char *>(ngx_pnalloc(ctx->request->pool,
                                  64 + rows.errors_kept * NGX_HTTP_SLUICE_ERROR_BYTES
                                  + ngx_http_sluice_answer_withheld_bytes(ctx)));
    if (p == NULL) {
        return NGX_ERROR;
    }

    out = reinterpret_cast<char *>(p);
    out = ngx_http_sluice_append(out, ",\"rejected\":");
    out = ngx_http_sluice_append_number(out, rows.bad_records + rows.withheld);
    if (rows.errors_kept) {
        out = ngx_http_sluice_answer_errors(out, ctx, rows);
    }
    if (ctx->withheld) {
        out = ngx_http_sluice_answer_withheld(out, ctx);
    }

    ctx->rejected.data = p;
    ctx->rejected.len = reinterpret_cast<u_char *>(out) - p;

    return NGX_OK;
}


static size_t
ngx_http_sluice_answer_withheld_bytes(const ngx_http_sluice_ctx_t *ctx)
{
    if (ctx->withheld == NULL) {
        return 0;
    }

    return 256 + ngx_http_sluice_limit_name(ctx->withheld->limited_by).size()
           + ctx->withheld->ranges.nelts * 2 * sizeof(",[4294967295");
}


/*
 * Records that may be sent again, and must be, by who wants them stored: all of them are told, as
 * ranges of indexes.
 */

static char *
ngx_http_sluice_answer_withheld(char *out, const ngx_http_sluice_ctx_t *ctx)
{
    const ngx_http_sluice_range_t     *range;
    const ngx_http_sluice_withheld_t  *withheld = ctx->withheld;
    const ngx_http_sluice_trouble_t   *trouble = &ngx_http_sluice_troubles[withheld->trouble];
    const std::string_view             limit = ngx_http_sluice_limit_name(withheld->limited_by);

    out = ngx_http_sluice_append(out, ",\"withheld\":{\"count\":");
    out = ngx_http_sluice_append_number(out, withheld->count);
    out = ngx_http_sluice_append(out, ",\"code\":\"");
    out = ngx_http_sluice_append(out, trouble->code);
    if (!limit.empty()) {
        out = ngx_http_sluice_append(out, "\",\"limit\":\"");
        out = ngx_http_sluice_append(out, limit);
    }
    out = ngx_http_sluice_append(out, "\",\"retry_after\":");
    out = ngx_http_sluice_append_number(out, withheld->retry_after ? withheld->retry_after
                                                                       : trouble->retry_after);
    out = ngx_http_sluice_append(out, ",\"indexes\":[");

    range = static_cast<const ngx_http_sluice_range_t *>(withheld->ranges.elts);

    for (ngx_uint_t i = 0; i < withheld->ranges.nelts; i++) {
        out = ngx_http_sluice_append(out, i ? ",[" : "[");
        out = ngx_http_sluice_append_number(out, range[i].first);
        *out++ = ',';
        out = ngx_http_sluice_append_number(out, range[i].last);
        *out++ = ']';
    }

    return ngx_http_sluice_append(out, "]}");
}


ngx_int_t
ngx_http_sluice_answer_queued(ngx_http_sluice_ctx_t *ctx, std::string_view entry_id,
    int64_t time_ms)
{
    char                *out;
    ngx_buf_t           *b;
    ngx_uint_t           last = ctx->first + ctx->records;
    ngx_str_t            applied;
    const ngx_uint_t     single = ctx->conf->ingest == NGX_HTTP_SLUICE_LOG;
    ngx_http_request_t  *r = ctx->request;

    ngx_http_sluice_answer_count(r, NGX_HTTP_SLUICE_CODE_QUEUED);
    ngx_http_sluice_worker.counters->records += ctx->records;

    b = ngx_create_temp_buf(r->pool, 128 + ctx->rejected.len
                                     + ctx->records * (entry_id.size() + NGX_INT_T_LEN));
    if (b == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    if (ctx->preferred) {
        applied = ngx_http_sluice_str(ctx->partial ? "handling=lenient" : "handling=strict");
        if (ngx_http_sluice_answer_add_header(r, "Preference-Applied", applied) != NGX_OK) {
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }
    }

    out = reinterpret_cast<char *>(b->pos);

    if (single) {
        out = ngx_http_sluice_append(out, "{\"status\":\"queued\",\"message_id\":");
    } else {
        out = ngx_http_sluice_append(out, "{\"status\":\"queued\",\"count\":");
        out = ngx_http_sluice_append_number(out, ctx->records);
        if (ctx->rejected.len) {
            out = ngx_http_sluice_append(out, ngx_http_sluice_view(ctx->rejected));
        }
        out = ngx_http_sluice_append(out, ",\"message_ids\":[");
    }

    for (ngx_uint_t i = ctx->first; i < last; i++) {
        *out++ = '"';
        if (i == ctx->first) {
            ctx->message_id.data = reinterpret_cast<u_char *>(out);
        }
        out = ngx_http_sluice_append(out, entry_id);
        *out++ = '-';
        out = ngx_http_sluice_append_number(out, i);
        if (i == ctx->first) {
            ctx->message_id.len = reinterpret_cast<u_char *>(out) - ctx->message_id.data;
        }
        *out++ = '"';
        *out++ = ',';
    }
    out--;

    if (!single) {
        *out++ = ']';
    }

    out = ngx_http_sluice_append(out, ",\"received_at\":\"");
    out = sluice::format_timestamp(time_ms * 1000, out);
    out = ngx_http_sluice_append(out, "\"}");

    b->last = reinterpret_cast<u_char *>(out);

    return ngx_http_sluice_answer_send(r, NGX_HTTP_OK, ngx_http_sluice_json_type, b);
}


/* A problem document, open, in a buffer with room for further members. */

static ngx_int_t
ngx_http_sluice_answer_problem(ngx_http_request_t *r, const sluice::Problem &problem,
    size_t members, ngx_buf_t **b)
{
    *b = ngx_create_temp_buf(r->pool, sluice::problem_bytes(problem) + members);
    if (*b == NULL) {
        return NGX_ERROR;
    }

    (*b)->last = reinterpret_cast<u_char *>(
        sluice::write_problem_open(problem, reinterpret_cast<char *>((*b)->pos)));

    return NGX_OK;
}


ngx_int_t
ngx_http_sluice_answer_send(ngx_http_request_t *r, ngx_uint_t status, ngx_str_t type,
    ngx_buf_t *b)
{
    ngx_int_t                rc;
    ngx_str_t                level;
    ngx_chain_t              out;
    const sluice::ShedState  shed = ngx_http_sluice_shed_state();

    /* only what may bring records has a context */
    if (shed.active() && ngx_http_get_module_ctx(r, ngx_http_sluice_module)) {
        level = ngx_http_sluice_str(ngx_http_sluice_shed_min_level(shed));
        if (ngx_http_sluice_answer_add_header(r, "Sluice-Min-Level", level) != NGX_OK) {
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;
    r->headers_out.content_type = type;
    r->headers_out.content_type_len = type.len;
    r->headers_out.content_type_lowcase = NULL;

    /* "If-Match" and others: what is stored must not be told as 412, or as 304 */
    r->disable_not_modified = 1;

    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = r == r->main ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_sluice_answer_add_header(ngx_http_request_t *r, const char *name, ngx_str_t value)
{
    ngx_table_elt_t  *h;

    h = static_cast<ngx_table_elt_t *>(ngx_list_push(&r->headers_out.headers));
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* not field by field: newer versions have more of them */
    ngx_memzero(h, sizeof(ngx_table_elt_t));
    h->hash = 1;
    h->key = ngx_http_sluice_str(name);
    h->value = value;

    return NGX_OK;
}


void
ngx_http_sluice_answer_finish(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t  *c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}

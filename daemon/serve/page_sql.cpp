#include "daemon/serve/page_sql.hpp"

#include "daemon/pg_text.hpp"

namespace sluice {
namespace {

constexpr std::string_view kColumns =
    "id, created_at, device_id, log_level, message, log_data, event_time";
// Times as numbers: Postgres would show them in a format of its own.
constexpr std::string_view kShown =
    "id, device_id, log_level, message, log_data,"
    " (extract(epoch FROM created_at) * 1000000)::bigint,"
    " (extract(epoch FROM event_time) * 1000000)::bigint";

// As a pattern of LIKE that means the text itself, anywhere.
std::string like_pattern(std::string_view text) {
    std::string pattern = "%";
    for (const char c : text) {
        if (c == '%' || c == '_' || c == '\\') {
            pattern.push_back('\\');
        }
        pattern.push_back(c);
    }
    return pattern + "%";
}

class Builder {
  public:
    explicit Builder(const Query& query) : query_(query) {}

    PageSql build(const TimeRange& range, uint32_t limit, uint32_t offset) {
        const std::string where = conditions(range);
        const std::string most = std::to_string(limit + offset);
        const std::string cut = " LIMIT " + std::to_string(limit) +
                                (offset == 0 ? "" : " OFFSET " + std::to_string(offset));
        sql_.text = "SELECT " + std::string(kShown) + " FROM ";
        if (query_.device_id.given()) {
            sql_.text += "logs" + where + order() + cut;
            return std::move(sql_);
        }
        // The index has the level first: an arm for each level reads no row that is not wanted, and
        // the arms are merged as far as the page goes.
        const char* between = "(";
        for (unsigned level = 0; level < kLevelCount; ++level) {
            if (query_.levels == 0 || (query_.levels & 1U << level) != 0) {
                sql_.text += std::string(between) + "(SELECT " + std::string(kColumns) +
                             " FROM logs" + where + " AND log_level = '" +
                             std::string(kLevelNames[level]) + "'" + order() + " LIMIT " + most +
                             ")";
                between = " UNION ALL ";
            }
        }
        sql_.text += ") AS newest" + order() + cut;
        return std::move(sql_);
    }

  private:
    std::string value(std::string text) {
        sql_.values.push_back(std::move(text));
        return "$" + std::to_string(sql_.values.size());
    }

    std::string conditions(const TimeRange& range) {
        std::string where = " WHERE created_at >= " + value(time_text(range.from_us)) +
                            " AND created_at < " + value(time_text(range.to_us));
        if (query_.has_cursor) {
            where += std::string(" AND (created_at, id) ") + (query_.ascending ? ">" : "<") + " (" +
                     value(time_text(query_.cursor.created_at_us)) + ", " +
                     value(std::to_string(query_.cursor.id)) + ")";
        }
        if (query_.device_id.given()) {
            where += " AND device_id = " + value(std::string(query_.device_id.view()));
            if (query_.levels != 0) {
                where += " AND log_level = ANY (" + value(levels_array(query_.levels)) +
                         "::log_level[])";
            }
        }
        if (query_.text.given()) {
            where += " AND message ILIKE " + value(like_pattern(query_.text.view()));
        }
        if (query_.contains.given()) {
            where += " AND log_data @> " + value(std::string(query_.contains.view())) + "::jsonb";
        }
        return where;
    }

    [[nodiscard]] std::string order() const {
        return query_.ascending ? " ORDER BY created_at, id" : " ORDER BY created_at DESC, id DESC";
    }

    const Query& query_;
    PageSql sql_;
};

}  // namespace

PageSql page_sql(const Query& query, const TimeRange& range, uint32_t limit, uint32_t offset) {
    return Builder(query).build(range, limit, offset);
}

std::string levels_array(uint8_t levels) {
    std::string text = "{";
    for (unsigned level = 0; level < kLevelCount; ++level) {
        if (levels == 0 || (levels & (1U << level)) != 0) {
            text.append(text.size() > 1 ? "," : "").append(kLevelNames[level]);
        }
    }
    return text + "}";
}

}  // namespace sluice

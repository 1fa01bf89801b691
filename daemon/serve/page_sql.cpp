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

    PageSql page(const TimeRange& range, uint32_t limit, uint32_t offset) {
        sql_.text = "SELECT " + std::string(kShown) + " FROM " + rows(range, limit, offset);
        return std::move(sql_);
    }

    PageSql count(const TimeRange& range, uint32_t most) {
        sql_.text = "SELECT count(*) FROM (SELECT id FROM " + rows(range, most, 0) + ") AS counted";
        return std::move(sql_);
    }

  private:
    std::string rows(const TimeRange& range, uint32_t limit, uint32_t offset) {
        const std::string where = conditions(range);
        const std::vector<std::string> arms = arms_of_levels();
        const std::string cut = " LIMIT " + std::to_string(limit) +
                                (offset == 0 ? "" : " OFFSET " + std::to_string(offset));
        if (arms.size() == 1) {
            return "logs" + where + arms[0] + order() + cut;
        }
        // Each arm comes in the order of its index and is read only as far as the page goes.
        std::string text;
        const char* between = "(";
        for (const std::string& arm : arms) {
            text += std::string(between) + "(SELECT " + std::string(kColumns) + " FROM logs" +
                    where + arm + order() + " LIMIT " + std::to_string(limit + offset) + ")";
            between = " UNION ALL ";
        }
        return text + ") AS merged" + order() + cut;
    }

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
        }
        if (query_.text.given()) {
            where += " AND message ILIKE " + value(like_pattern(query_.text.view()));
        }
        if (query_.contains.given()) {
            where += " AND log_data @> " + value(std::string(query_.contains.view())) + "::jsonb";
        }
        return where;
    }

    // Conditions that the indexes can check: of all devices it has the level first, so one arm a
    // level; of a device the level last, where Postgres checks a range without looking at the rows,
    // but no list. Names of levels are ours.
    [[nodiscard]] std::vector<std::string> arms_of_levels() const {
        std::vector<std::string> arms;
        const bool of_device = query_.device_id.given();
        if (of_device && query_.levels == 0) {
            return {""};
        }
        const unsigned levels = query_.levels == 0 ? (1U << kLevelCount) - 1 : query_.levels;
        for (unsigned level = 0; level < kLevelCount; ++level) {
            if ((levels & 1U << level) == 0) {
                continue;
            }
            unsigned last = level;
            while (of_device && (levels & 1U << (last + 1)) != 0) {
                ++last;
            }
            arms.push_back(last == level ? " AND log_level = " + quoted(level)
                                         : " AND log_level >= " + quoted(level) +
                                               " AND log_level <= " + quoted(last));
            level = last;
        }
        return arms;
    }

    static std::string quoted(unsigned level) {
        return "'" + std::string(kLevelNames[level]) + "'";
    }

    [[nodiscard]] std::string order() const {
        return query_.ascending ? " ORDER BY created_at, id" : " ORDER BY created_at DESC, id DESC";
    }

    const Query& query_;
    PageSql sql_;
};

}  // namespace

PageSql page_sql(const Query& query, const TimeRange& range, uint32_t limit, uint32_t offset) {
    return Builder(query).page(range, limit, offset);
}

PageSql count_sql(const Query& query, const TimeRange& range, uint32_t most) {
    return Builder(query).count(range, most);
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

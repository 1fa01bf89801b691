#include "t/sim/trace.hpp"

#include <cstdarg>
#include <cstdio>

namespace sluice::sim {
void violated(const char* format, ...) {
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    throw Violation(text);
}

void Trace::line(const char* format, ...) const {
    printf("%12.3f  ", static_cast<double>(*now_us_) / 1000);
    va_list values;
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    putchar('\n');
}

std::string text_of(const RedisAction& action) {
    std::string text = name_of(action.step);
    if (action.from != StreamId{}) {
        text += " from " + to_string(action.from);
    }
    if (action.count != 0) {
        text += " count " + std::to_string(action.count);
    }
    if (action.block_ms != 0) {
        text += " block " + std::to_string(action.block_ms);
    }
    if (action.keep != 0) {
        text += " keep " + std::to_string(action.keep);
    }
    if (!action.group.empty()) {
        text += " of " + action.group;
    }
    for (const StreamId& id : action.ids) {
        text += " " + to_string(id);
    }
    for (const StreamId& place : action.places) {
        text += " " + to_string(place);
    }
    return text;
}

std::string text_of(const RedisResult& result) {
    std::string text = name_of(result.status);
    for (const Entry& entry : result.entries) {
        text += " " + to_string(entry.id) + (entry.gone ? " (gone)" : "");
    }
    for (const GroupPosition& position : result.groups) {
        text += " " + position.name + " at " + to_string(position.last_delivered);
    }
    if (result.has_pending) {
        text += " first pending " + to_string(result.first_pending);
    }
    if (result.trimmed != 0) {
        text += " trimmed " + std::to_string(result.trimmed);
    }
    if (result.gone != 0) {
        text += " gone " + std::to_string(result.gone);
    }
    return text;
}

std::string text_of(const PgAction& action) {
    std::string text = name_of(action.step);
    if (action.step == PgStep::kInsertLedger) {
        for (const BatchFrame& frame : action.batch->frames()) {
            text += " " + to_string(frame.id) + " (row " + std::to_string(frame.first_row_id) + ")";
        }
    }
    if (action.step == PgStep::kCopy) {
        text += (action.careful ? " carefully " : " ") + std::to_string(action.rows.first) + "+" +
                std::to_string(action.rows.count);
    }
    if (action.step == PgStep::kDeadLetter) {
        text += " " + to_string(action.letter.id) + " " + std::to_string(action.letter.position);
    }
    for (const int64_t day : action.log_days) {
        text += " day " + std::to_string(day);
    }
    for (const int64_t hour : action.ledger_hours) {
        text += " hour " + std::to_string(hour);
    }
    return text;
}

std::string text_of(const PgReply& reply) {
    std::string text = name_of(reply.status);
    if (reply.first_id != 0) {
        text += " first id " + std::to_string(reply.first_id);
    }
    for (const int64_t id : reply.fresh_ids) {
        text += " fresh " + std::to_string(id);
    }
    if (reply.named_line != 0) {
        text += " in line " + std::to_string(reply.named_line);
    }
    return text;
}

}  // namespace sluice::sim

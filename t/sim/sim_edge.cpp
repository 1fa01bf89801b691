#include "t/sim/sim_edge.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "common/timestamp.hpp"
#include "t/sim/trace.hpp"

namespace sluice::sim {
namespace {

constexpr uint64_t kRecordsMax = 3;
constexpr uint64_t kLargeRecordsMax = 3000;

// The number behind one letter at the beginning of a column; -1 if there is none.
int64_t number_in(std::string_view column) noexcept {
    int64_t number = -1;
    if (!column.empty()) {
        std::from_chars(column.data() + 1, column.data() + column.size(), number);
    }
    return number;
}

std::string_view take_column(std::string_view* rest) noexcept {
    const size_t end = std::min(rest->find('\t'), rest->size());
    const std::string_view column = rest->substr(0, end);
    rest->remove_prefix(std::min(end + 1, rest->size()));
    return column;
}

// The next of RESP's bulk strings.
std::string_view take_bulk(std::string_view* rest) noexcept {
    size_t bytes = 0;
    const size_t line_end = rest->find("\r\n");
    std::from_chars(rest->data() + 1, rest->data() + line_end, bytes);
    const std::string_view bulk = rest->substr(line_end + 2, bytes);
    rest->remove_prefix(line_end + 2 + bytes + 2);
    return bulk;
}

bool parse_level_name(std::string_view name, Level* out) noexcept {
    for (unsigned level = 0; level < kLevelCount; ++level) {
        if (name == kLevelNames[level]) {
            *out = static_cast<Level>(level);
            return true;
        }
    }
    return false;
}

}  // namespace

std::string_view SentFrame::row(size_t position) const {
    const size_t begin = position == 0 ? 0 : row_ends[position - 1];
    return std::string_view(rows).substr(begin, row_ends[position] - begin);
}

int64_t stored_time_ms(int64_t t_ms) noexcept {
    return std::clamp(t_ms, kReceiveTimeMinMs, kReceiveTimeMaxMs);
}

SimEdge::SimEdge(Chance* chance, unsigned poison_percent, unsigned large_percent)
    : chance_(chance), poison_percent_(poison_percent), large_percent_(large_percent) {
    for (ProducerIds& worker : workers_) {
        uint8_t random[ProducerIds::kSeedBytes];
        const uint64_t bits = chance_->next();
        memcpy(random, &bits, sizeof random);
        worker.seed(random);
    }
}

SentFrame* SimEdge::make_frame(EntryKind kind, bool keyed, int64_t t_ms) {
    SentFrame* frame = &frames_.emplace_back();
    frame->number = static_cast<uint32_t>(frames_.size());
    frame->kind = kind;
    if (keyed) {
        const uint64_t hash[2] = {chance_->next(), chance_->next()};
        frame->producer_id = keyed_producer_id(reinterpret_cast<const uint8_t*>(hash));
    } else {
        frame->producer_id = workers_[chance_->below(2)].next(t_ms);
    }
    frame->times_ms = {t_ms};
    const bool large = chance_->percent(large_percent_);
    const uint64_t records = 1 + chance_->below(large ? kLargeRecordsMax : kRecordsMax);
    for (unsigned position = 0; position < records; ++position) {
        append_row(frame, position);
        frame->poison.push_back(chance_->percent(poison_percent_) &&
                                (!large || chance_->one_in(50)));
    }
    return frame;
}

void SimEdge::append_row(SentFrame* frame, unsigned position) {
    std::string& rows = frame->rows;
    rows += "d" + std::to_string(frame->number) + "\t";
    rows += kLevelNames[chance_->below(kLevelCount)];
    rows += "\tm" + std::to_string(position) + " \\t\\\\\\n";
    rows.append(chance_->one_in(50) ? chance_->below(4000) : chance_->below(20), 'x');
    rows += "\t{\"a\": 1}\t\\N\n";
    frame->row_ends.push_back(rows.size());
}

std::shared_ptr<const EntryBody> SimEdge::encode(SentFrame* frame, int64_t t_ms) {
    auto body = std::make_shared<EntryBody>();
    body->frame = frame;
    body->bytes.assign(kFrameHeadBytesMax, '\0');
    body->bytes += frame->rows;
    body->bytes.append(kFrameTailBytes, '\0');
    char* rows = body->bytes.data() + kFrameHeadBytesMax;
    const FrameHead head = {kDefaultStream, frame->producer_id, t_ms, frame->records(),
                            frame->rows.size()};
    const char* begin = write_frame_head(head, rows);
    write_frame_tail(rows + frame->rows.size());

    std::string_view rest = std::string_view(body->bytes).substr(begin - body->bytes.data());
    rest.remove_prefix(rest.find("\r\n") + 2);
    for (int word = 0; word < 3; ++word) {  // XADD, the stream, *
        take_bulk(&rest);
    }
    while (!rest.empty()) {
        const std::string_view name = take_bulk(&rest);
        body->fields.push_back({name, take_bulk(&rest)});
    }
    if (frame->kind == EntryKind::kNewerVersion) {
        body->fields[0].value = "2";
    } else if (frame->kind == EntryKind::kPlain) {
        make_plain(frame, body.get());
    } else if (frame->kind == EntryKind::kBroken) {
        damage(body.get());
        frame->fields_text = fields_text(body->fields.data(), body->fields.size());
    }
    return body;
}

// Its one row is what the edge would have made of these fields.
void SimEdge::make_plain(SentFrame* frame, EntryBody* body) const {
    body->bytes = "d" + std::to_string(frame->number);
    body->fields = {{"device_id", body->bytes},
                    {"log_level", "warning"},
                    {"message", "m0 of another"},
                    {"log_data", "{\"b\": 2}"}};
    frame->rows = body->bytes + "\tWARNING\tm0 of another\t{\"b\": 2}\t\\N\n";
    frame->row_ends = {frame->rows.size()};
    frame->poison.resize(1);
}

void SimEdge::damage(EntryBody* body) {
    std::vector<EntryField>& fields = body->fields;
    switch (chance_->below(7)) {
        case 0:
            fields[3].value = "999999";  // more records than rows
            break;
        case 1:
            fields[3].value = "0";
            break;
        case 2:
            fields[1].value.remove_suffix(1);
            break;
        case 3:
            fields[2].value = "noon";
            break;
        case 4:
            fields[4].value.remove_suffix(1);
            break;
        case 5:  // plain, but against a rule
            fields = {{"device_id", fields[1].value}, {"message", "m"}, {"log_level", "LOUD"}};
            break;
        default:
            fields.pop_back();
    }
}

SentFrame* SimEdge::recognize_row(std::string_view row, uint32_t* position, Level* level) {
    std::string_view rest = row;
    const int64_t number = number_in(take_column(&rest));
    const std::string_view level_name = take_column(&rest);
    *position = static_cast<uint32_t>(number_in(take_column(&rest)));
    if (number >= 1 && number <= static_cast<int64_t>(frames_.size())) {
        SentFrame* frame = &frames_[static_cast<size_t>(number - 1)];
        if (*position < frame->records() && row == frame->row(*position) &&
            parse_level_name(level_name, level)) {
            return frame;
        }
    }
    violated("Postgres got a row that nobody sent: %.*s", static_cast<int>(row.size()), row.data());
}

StoredRow SimEdge::recognize(std::string_view line) {
    StoredRow row;
    std::string_view rest = line;
    const std::string_view id = take_column(&rest);
    const std::string_view created_at = take_column(&rest);
    row.frame = recognize_row(rest, &row.position, &row.level);
    if (std::from_chars(id.data(), id.data() + id.size(), row.id).ec != std::errc()) {
        violated("COPY got a row without an id: %.*s", static_cast<int>(id.size()), id.data());
    }
    for (const int64_t sent_ms : row.frame->times_ms) {
        char text[kTimestampBytes];
        row.t_ms = stored_time_ms(sent_ms);
        if (created_at == std::string_view(text, format_timestamp(row.t_ms * 1000, text) - text)) {
            return row;
        }
    }
    violated("COPY got a time that frame %u never had: %.*s", row.frame->number,
             static_cast<int>(created_at.size()), created_at.data());
}

StoredRow SimEdge::recognize(const DeadLetter& letter) {
    StoredRow row;
    row.t_ms = letter.receive_time_ms;
    row.u = letter.producer_id;
    if (letter.position != DeadLetter::kWholeEntry) {
        row.frame = recognize_row(std::string(letter.bytes) + "\n", &row.position, &row.level);
        if (row.position != static_cast<uint32_t>(letter.position)) {
            violated("a dead letter of frame %u has position %d", row.frame->number,
                     letter.position);
        }
        return row;
    }
    for (SentFrame& frame : frames_) {
        if (frame.kind == EntryKind::kBroken && frame.fields_text == letter.bytes) {
            row.frame = &frame;
            return row;
        }
    }
    violated("a dead letter of %s that nobody sent", to_string(letter.id).c_str());
}

}  // namespace sluice::sim

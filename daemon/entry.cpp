#include "daemon/entry.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <new>
#include <stdexcept>

namespace sluice {
namespace {

void append_netstring(std::string_view text, std::string* out) {
    out->append(std::to_string(text.size())).push_back(':');
    out->append(text).push_back(',');
}

// No record of another producer has so many, whatever stands beside its fields.
constexpr size_t kPlainBytesMax = 4 * kRecordBytes;

// Entries that carry no id of their own are known by their time and a hash of what they are. The
// stream's id is part of it: the same record logged twice is two records.
void identify(const StreamId& id, std::string_view fields, Frame* frame) {
    const std::string text = to_string(id) + ' ';
    uint8_t hash[EVP_MAX_MD_SIZE];
    EVP_MD_CTX* const sha = EVP_MD_CTX_new();
    const bool done = sha != nullptr && EVP_DigestInit_ex(sha, EVP_sha256(), nullptr) == 1 &&
                      EVP_DigestUpdate(sha, text.data(), text.size()) == 1 &&
                      EVP_DigestUpdate(sha, fields.data(), fields.size()) == 1 &&
                      EVP_DigestFinal_ex(sha, hash, nullptr) == 1;
    EVP_MD_CTX_free(sha);
    if (!done) {
        throw std::runtime_error("SHA-256 failed");
    }
    const auto ms = static_cast<int64_t>(std::min<uint64_t>(id.ms, INT64_MAX));
    frame->producer_id = hashed_producer_id(id.ms, hash);
    set_receive_time(ms, frame);
}

std::string text_of(const PlainEntry& entry) {
    const RefusalText& refusal = refusal_text(entry.refusal);
    std::string text = field_name(entry.field);
    text.append(text.empty() ? "" : ": ").append(refusal.code).append(": ").append(refusal.rule);
    return text;
}

}  // namespace

std::string fields_text(const EntryField* fields, size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) {
        append_netstring(fields[i].name, &text);
        append_netstring(fields[i].value, &text);
    }
    return text;
}

Entry EntryReader::read(const StreamId& id, const EntryField* fields, size_t count,
                        EntryBytes* bytes) {
    Entry entry;
    entry.id = id;
    entry.error = read_frame(fields, count, &entry.frame);
    if (entry.error == FrameError::kNone) {
        const std::string_view rows = entry.frame.rows;
        const auto newlines = std::count(rows.begin(), rows.end(), '\n');
        if (newlines == static_cast<ptrdiff_t>(entry.frame.records)) {
            return entry;
        }
        entry.error = FrameError::kDamaged;
    }
    if (entry.error == FrameError::kUnknownVersion) {
        return entry;
    }
    std::string text = fields_text(fields, count);
    identify(id, text, &entry.frame);
    entry.frame.records = 1;
    entry.reason = "neither a whole frame nor a plain entry";
    if (entry.error == FrameError::kPlainEntry && text.size() > kPlainBytesMax) {
        PlainEntry plain;
        plain.refusal = Refusal::kRecordTooLarge;
        entry.reason = bytes->keep(text_of(plain));
    } else if (entry.error == FrameError::kPlainEntry) {
        std::string row(plain_.row_bytes_max(fields, count), '\0');
        PlainEntry plain;
        const char* const end = plain_.write_row(fields, count, row.data(), &plain);
        if (plain.refusal == Refusal::kNoMemory) {
            throw std::bad_alloc();
        }
        if (plain.refusal == Refusal::kNone) {
            row.resize(static_cast<size_t>(end - row.data()));
            entry.error = FrameError::kNone;
            entry.plain = true;
            // Also the fields that are none of the record's: they are in the reply.
            entry.other_bytes = text.size();
            entry.frame.rows = bytes->keep(std::move(row));
            return entry;
        }
        entry.reason = bytes->keep(text_of(plain));
    }
    entry.frame.rows = bytes->keep(std::move(text));
    return entry;
}

}  // namespace sluice

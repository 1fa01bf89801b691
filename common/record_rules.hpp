// The rules a record must meet, in one place: limits, levels, and the stable codes under which a
// refusal is answered and counted. The checks themselves are where the bytes are read (json_rows).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

inline constexpr size_t kDeviceIdBytesMax = 50;
inline constexpr unsigned kJsonDepthMax = 64;
inline constexpr size_t kNumberBytesMax = 64;
inline constexpr int kNumberExponentMax = 308;

// Defaults of the edge's directives.
inline constexpr uint32_t kRecordsPerRequest = 1000;
inline constexpr size_t kRecordBytes = 256 * 1024;

enum class Level : uint8_t { kDebug, kInfo, kWarning, kError, kCritical };
inline constexpr unsigned kLevelCount = 5;
inline constexpr std::string_view kLevelNames[kLevelCount] = {"DEBUG", "INFO", "WARNING", "ERROR",
                                                              "CRITICAL"};

// In any case of letters; false if it is none of the five.
[[nodiscard]] bool parse_level(std::string_view text, Level* out) noexcept;

// C0, DEL or C1, in UTF-8.
[[nodiscard]] bool has_control_character(std::string_view text) noexcept;

enum class RecordField : uint8_t { kNone, kDeviceId, kLogLevel, kMessage, kLogData, kTimestamp };

// Why a body or a record is refused.
enum class Refusal : uint8_t {
    kNone,
    // The body as a whole: 400.
    kMalformedJson,
    kInvalidUtf8,
    kEmptyBody,
    // The body as a whole: 422.
    kNotABatch,
    kLogsMissing,
    kLogsNotAnArray,
    kEmptyBatch,
    kTooManyRecords,
    // One record: 422, with its index and field.
    kRecordNotAnObject,
    kRecordTooLarge,
    kMissing,
    kWrongType,
    kEmpty,
    kTooLong,
    kControlCharacter,
    kUnknownLevel,
    kBadTimestamp,
    kDuplicateKey,
    kUnknownField,
    kLoneSurrogate,
    kTooDeep,
    kNumberTooLong,
    kNumberOutOfRange,
    // Not the client's fault.
    kNoMemory,
};

inline constexpr unsigned kRefusalCount = static_cast<unsigned>(Refusal::kNoMemory) + 1;

struct RefusalText {
    const char* code;  // stable: clients and counters use it
    int status;        // HTTP
    const char* rule;  // what would have been right
};
[[nodiscard]] const RefusalText& refusal_text(Refusal refusal) noexcept;
[[nodiscard]] const char* field_name(RecordField field) noexcept;

}  // namespace sluice

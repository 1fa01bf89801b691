// Which records one who watches has asked for: the parameters of a query, applied as Postgres would
// apply them.
#pragma once

#include <memory>
#include <string>

#include "common/query.hpp"
#include "daemon/serve/json_value.hpp"
#include "daemon/serve/tail_record.hpp"

namespace sluice {

class TailFilter {
  public:
    explicit TailFilter(const Query& query);

    [[nodiscard]] bool takes(const TailRecord& record) const;
    [[nodiscard]] const std::string& device_id() const noexcept { return device_id_; }

  private:
    std::string device_id_;
    uint8_t levels_;
    std::string text_;  // in small letters
    std::unique_ptr<JsonValue> contains_;
};

}  // namespace sluice

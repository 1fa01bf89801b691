-- wrk's requests: bodies of random realistic records, made before the clock starts. One repeated
-- body would flatter every cache on the way.
--
--   wrk ... -s records.lua URL -- RECORDS DELAY_MS
-- RECORDS: 0 is one record as itself, else a batch of so many. DELAY_MS: pause of a connection
-- between its requests, to measure latency below the maximum load.

local words = {
  "connection", "timeout", "user", "login", "payment", "accepted", "retry", "upstream", "cache",
  "miss", "order", "created", "shipped", "failed", "sensor", "value", "temperature", "pressure",
  "valve", "opened", "closed", "session", "expired", "token", "refreshed", "query", "slow", "index",
}
local levels = { "DEBUG", "INFO", "INFO", "INFO", "INFO", "WARNING", "ERROR", "CRITICAL" }

local function record()
  local text = {}
  for i = 1, math.random(6, 14) do
    text[i] = words[math.random(#words)]
  end
  return string.format(
    '{"device_id":"device-%02d","log_level":"%s","message":"%s %08x","log_data":{"user":%d,' ..
    '"ip":"10.%d.%d.%d","latency_ms":%.3f,"ok":%s}}',
    math.random(0, 99), levels[math.random(#levels)], table.concat(text, " "),
    math.random(0, 2 ^ 31 - 1), math.random(1, 999999), math.random(0, 255), math.random(0, 255),
    math.random(0, 255), math.random() * 100, math.random() > 0.1 and "true" or "false")
end

local function body(records)
  if records == 0 then
    return record()
  end
  local list = {}
  for i = 1, records do
    list[i] = record()
  end
  return '{"logs":[' .. table.concat(list, ",") .. "]}"
end

local requests, at, pause = {}, 0, 0

function init(args)
  local records = tonumber(args[1])
  pause = tonumber(args[2] or "0")
  math.randomseed(42)
  wrk.headers["Content-Type"] = "application/json"
  for i = 1, records > 100 and 20 or 200 do
    requests[i] = wrk.format("POST", nil, nil, body(records))
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function delay()
  return pause
end

function done(summary, latency)
  io.write(string.format(
    '\nJSON {"requests":%d,"us":%d,"not_2xx":%d,"socket_errors":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end

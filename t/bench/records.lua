-- wrk's requests: bodies from a file that bodies.py has written, in turn.
--
--   wrk ... -s records.lua URL -- FILE DELAY_MS
-- DELAY_MS: pause of a connection between its requests, to measure latency below the maximum load.

local requests, at, pause = {}, 0, 0

function init(args)
  pause = tonumber(args[2] or "0")
  local file = assert(io.open(args[1], "rb"))
  local encoding
  wrk.headers["Content-Type"], encoding = file:read("*l", "*l")
  if encoding ~= "" then
    wrk.headers["Content-Encoding"] = encoding
  end
  local length = file:read("*l")
  while length do
    requests[#requests + 1] = wrk.format("POST", nil, nil, file:read(tonumber(length)))
    length = file:read("*l")
  end
  file:close()
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
    '\nJSON {"requests":%d,"us":%d,"not_2xx":%d,"socket_errors":%d,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end

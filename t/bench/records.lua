-- wrk's requests: bodies from a file that bodies.py has written, in turn.
--
--   wrk -t1 ... -s records.lua URL -- FILE RATE
-- RATE: requests a second of all connections together, as far as they are answered; 0 is as fast as
-- they are.

local ffi = require("ffi")
ffi.cdef("struct moment { long seconds, ns; }; int clock_gettime(int clock, struct moment *now);")

local MONOTONIC = 1
local now = ffi.new("struct moment")
local requests, at, rate, begin_ms, asked = {}, 0, 0, nil, 0

function init(args)
  rate = tonumber(args[2] or "0")
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

-- How long the connection that is free waits: until the next request is due.
function delay()
  if rate == 0 then
    return 0
  end
  ffi.C.clock_gettime(MONOTONIC, now)
  local now_ms = tonumber(now.seconds) * 1000 + tonumber(now.ns) / 1e6
  begin_ms = begin_ms or now_ms
  local due_ms = begin_ms + asked * 1000 / rate
  -- What could not be asked in its second is left out, not made up for.
  asked = due_ms < now_ms - 1000 and math.ceil((now_ms - begin_ms) * rate / 1000) or asked + 1
  return math.max(0, due_ms - now_ms)
end

function done(summary, latency)
  io.write(string.format(
    '\nJSON {"requests":%d,"us":%d,"not_2xx":%d,"socket_errors":%d,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end

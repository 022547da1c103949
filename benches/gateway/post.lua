-- What wrk sends, and how it says what it found: one line, times in microseconds.
-- Arguments: the path, max_tokens, stream or whole, and how many characters the prompt has.
local count = 0

function init(args)
   path, tokens, kind, length = args[1], tonumber(args[2]), args[3], tonumber(args[4])
   head = '{"model":"tiny","temperature":0,"ignore_eos":true,"max_tokens":' .. tokens
   if kind == "stream" then head = head .. ',"stream":true' end
   math.randomseed(1)
   -- Sixteen conversations: each prompt has the beginning of one, and an end of its own.
   shared = {}
   for i = 1, 16 do
      local text = {}
      for j = 1, math.max(length - 32, 1) do text[j] = string.char(97 + math.random(0, 25)) end
      shared[i] = table.concat(text)
   end
   headers = { ["content-type"] = "application/json" }
end

function request()
   count = count + 1
   local prompt = shared[count % 16 + 1] .. string.format("%032d", count)
   return wrk.format("POST", path, headers, head .. ',"prompt":"' .. prompt .. '"}')
end

function done(summary, latency, requests)
   local bad = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
   io.write(string.format("p50 %d p99 %d requests/s %.0f failed %d\n",
      latency:percentile(50), latency:percentile(99), summary.requests / (summary.duration / 1e6), bad))
end

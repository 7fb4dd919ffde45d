-- wrk's side: `wrk -s load.lua URL -- KIND TOKEN NONCE ETAG`. KIND says what each request is:
--   get    one file after the other out of 32
--   put    over one file after the other out of 32 of this thread, each time with another content
--   new    a file that was never there
--   sync   the whole index        same   the index, if it is another than ETAG
-- What it says in the end is in bench/wrk.lua.

local threads = 0
local failures = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

function init(args)
  kind, nonce = args[1], args[3]
  count = 0
  headers = { ["Authorization"] = "Bearer " .. args[2], ["Content-Type"] = "application/octet-stream" }
  if kind == "sync" or kind == "same" then headers["Accept-Encoding"] = "gzip" end
  if kind == "same" then headers["If-None-Match"] = args[4] end
  fixed = (kind == "sync" or kind == "same") and wrk.format("GET", "/sync", headers)
end

function request()
  count = count + 1
  if fixed then return fixed end
  if kind == "get" then
    return wrk.format("GET", string.format("/blob/bench/get-%02d", count % 32), headers)
  end
  local body = string.rep(string.format("%s-%02d-%010d-", nonce, id, count), 64):sub(1, 1024)
  local path
  if kind == "new" then
    path = string.format("/blob/bench/new-%s/%d-%d", nonce, id, count)
  else
    path = string.format("/blob/bench/put-%d-%02d", id, count % 32)
  end
  return wrk.format("PUT", path, headers, body)
end

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "../wrk.lua")

-- wrk's side, with one thread: `wrk -s load.lua URL -- KIND FILE NONCE`.
--   read   requests that FILE holds whole, parted by zero bytes, in random order
--   write  the request that FILE holds, with a key that was never there for `@KEY@`, and 1 KiB that was never there for
--          a body; bench/objects/peers.py says the same of number n of them (`key_of`, `content`)

function init(args)
  kind, nonce, count = args[1], args[3], 0
  local file = io.open(args[2], "rb")
  local text = file:read("*a")
  file:close()
  if kind == "read" then
    requests = {}
    for one in text:gmatch("[^%z]+") do requests[#requests + 1] = one end
    math.randomseed(os.time())
  else
    local first, last = text:find("@KEY@", 1, true)
    before, after = text:sub(1, first - 1), text:sub(last + 1)
  end
end

function request()
  if kind == "read" then return requests[math.random(#requests)] end
  count = count + 1
  local key = string.format("%08x-%s-%d", count * 2654435761 % 4294967296, nonce, count) -- anywhere among the others
  return before .. key .. after .. string.rep(key .. "-", 1024 / 16):sub(1, 1024)
end

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "../wrk.lua")

-- Makes users whose names begin with the first argument, so that no run repeats one.
local prefix, count = "", 0

function init(args)
  prefix = args[1]
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  count = count + 1
  local name = prefix .. count
  local body = '{"username":"' .. name .. '","email":"' .. name .. '@example.com"}'
  return wrk.format("POST", "/api/v1/users", nil, body)
end

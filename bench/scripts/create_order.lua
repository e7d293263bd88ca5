-- Orders for a hundred users, whom the cache knows, of every product in turn.
local count = 0

function init(args)
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  count = count + 1
  local user, product = count % 100 + 1, count * 7919 % 10000 + 1
  local body = '{"user_id":' .. user .. ',"product_id":' .. product .. ',"quantity":2}'
  return wrk.format("POST", "/api/v1/orders", nil, body)
end

-- Reads each order once. Whoever empties the cache before has a miss each time.
local id = 0

function request()
  id = id + 1
  return wrk.format("GET", "/api/v1/orders/" .. id)
end

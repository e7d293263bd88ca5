#!/usr/bin/env bash
# The ten exercises, in the words of the lab: its commands stand here to the letter, and
# after each one what must have come of it. Only the containers are gone, so `docker exec`
# runs the rest of its line here, and `docker-compose up` is `wasmyard up --local`.
#
#   make up             in one terminal, with fresh data
#   tests/lab.sh        in another
#
# Where the ports are not the standard ones, these variables name them. They are those of
# the table that `wasmyard up --local` shows.
set -euo pipefail

: "${HTTPS_PORT:=8443}" "${USERS_PORT:=5000}" "${PRODUCTS_PORT:=3000}" "${ORDERS_PORT:=8080}"
: "${PGHOST:=127.0.0.1}" "${PGPORT:=5432}" "${PGPASSFILE:=.wasmyard/pgpass}" "${REDIS_PORT:=6379}"
export PGHOST PGPORT PGPASSFILE

CURL_HOME=$(mktemp -d)
export CURL_HOME
trap 'rm -rf "$CURL_HOME"' EXIT
cat >"$CURL_HOME/.curlrc" <<RC
connect-to = "localhost:443:localhost:$HTTPS_PORT"
connect-to = "localhost:5000:localhost:$USERS_PORT"
connect-to = "localhost:3000:localhost:$PRODUCTS_PORT"
connect-to = "localhost:8080:localhost:$ORDERS_PORT"
no-progress-meter
RC

# docker exec [-it] CONTAINER COMMAND…
docker() {
    shift
    if [ "$1" = -it ]; then shift; fi
    shift
    "$@"
}
redis-cli() { command redis-cli -p "$REDIS_PORT" "$@"; }
wget() { command wget "${@/localhost:3000/localhost:$PRODUCTS_PORT}"; }
ab() { command ab "${@/https:\/\/localhost\//https://localhost:$HTTPS_PORT/}"; }

exercise() { echo "== $*"; }

# is WHAT JSON FILTER: a filter of jq that must hold.
is() {
    jq -e "$3" >/dev/null <<<"$2" || {
        printf 'FAILED: %s\nexpected %s of\n%s\n' "$1" "$3" "$2" >&2
        exit 1
    }
    echo "ok: $1"
}

# has WHAT TEXT PATTERN: a regular expression that must be found.
has() {
    grep -Eq -- "$3" <<<"$2" || {
        printf 'FAILED: %s\nexpected %s in\n%s\n' "$1" "$3" "$2" >&2
        exit 1
    }
    echo "ok: $1"
}

exercise 'Exercise 2: Test User Service'

# Check health status, and get all users: the lab has one line for both.
out=$(curl -k https://localhost/api/v1/users)
is 'an array with the four sample users' "$out" '[.[].username] == ["alice", "bob", "charlie", "diana"]'

out=$(curl -k https://localhost/api/v1/users/1)
is 'a specific user' "$out" '.id == 1 and .username == "alice"'

out=$(curl -k -X POST https://localhost/api/v1/users \
  -H "Content-Type: application/json" \
  -d '{
    "username": "eddie",
    "email": "eddie@example.com"
  }')
is 'a new user' "$out" '.id == 5 and .username == "eddie" and .email == "eddie@example.com"'

# First call - hits database
time curl -k https://localhost/api/v1/users >/dev/null
# Second call - hits cache
time curl -k https://localhost/api/v1/users >/dev/null
has 'the cache answers' "$(curl -k -D - https://localhost/api/v1/users)" '^cache-status: wasmyard; hit'

out=$(curl -k https://localhost/api/v1/users/stats)
is 'statistics' "$out" '.service == "users" and .rows == 5 and .cache.hits >= 2 and .requests.total >= 5'

exercise 'Exercise 3: Test Product Service'

out=$(curl -k https://localhost/api/v1/products)
is 'an array with ten sample products' "$out" 'length == 10'

out=$(curl -k "https://localhost/api/v1/products?category=Electronics")
is 'those of a category' "$out" 'length == 4 and all(.category == "Electronics")'

out=$(curl -k https://localhost/api/v1/products/1)
is 'a specific product' "$out" '.id == 1 and .stock == 50'

out=$(curl -k -X POST https://localhost/api/v1/products \
  -H "Content-Type: application/json" \
  -d '{
    "name": "Smart Watch",
    "description": "Fitness tracking smartwatch",
    "price": 299.99,
    "stock": 75,
    "category": "Electronics"
  }')
is 'a new product' "$out" '.id == 11 and .price == 299.99 and .stock == 75'

out=$(curl -k -X PATCH https://localhost/api/v1/products/1/stock \
  -H "Content-Type: application/json" \
  -d '{
    "stock": 45
  }')
is 'the stock is updated' "$out" '.stock == 45'

out=$(curl -k https://localhost/api/v1/products/1 | jq '.stock')
has 'the stock was updated' "$out" '^45$'

exercise 'Exercise 4: Test Order Service'

out=$(curl -k https://localhost/api/v1/orders)
is 'an array with eight sample orders' "$out" 'length == 8'

out=$(curl -k https://localhost/api/v1/orders/1)
is 'a specific order' "$out" '.id == 1 and .status == "processing"'

out=$(curl -k -X POST https://localhost/api/v1/orders \
  -H "Content-Type: application/json" \
  -d '{
    "user_id": 1,
    "product_id": 2,
    "quantity": 2,
    "total_price": 1998.00
  }')
is 'a new order' "$out" '.id == 9 and .total_price == 1998 and .status == "pending"'

out=$(curl -k -X PATCH https://localhost/api/v1/orders/1/status \
  -H "Content-Type: application/json" \
  -d '{
    "status": "shipped"
  }')
is 'the status is updated' "$out" '.status == "shipped"'

out=$(curl -k https://localhost/api/v1/orders/1 | jq '.status')
has 'the status was updated' "$out" '^"shipped"$'

exercise 'Exercise 5: Database Interactions'

out=$(docker exec -it postgres psql -U labuser -d labdb <<'SQL'
\dt
SELECT * FROM users;
SELECT name, price, stock FROM products WHERE category = 'Electronics';
SELECT 
  o.id, 
  u.username, 
  p.name as product, 
  o.quantity, 
  o.total_price, 
  o.status
FROM orders o
JOIN users u ON o.user_id = u.id
JOIN products p ON o.product_id = p.id
ORDER BY o.created_at DESC;
\q
SQL
)
for table in users products orders; do
    has "the table $table" "$out" "public \| $table +\| table \| labuser"
done
has 'the users' "$out" '5 \| eddie +\| eddie@example.com'
has 'the products of a category' "$out" 'Smart Watch +\| +299.99 \| +75'
has 'the orders with user and product' "$out" '9 \| alice +\| Smartphone +\| +2 \| +1998.00 \| pending'

exercise 'Exercise 6: Redis Cache Inspection'

for path in users products products/1 orders; do
    curl -k "https://localhost/api/v1/$path" >/dev/null
done
out=$(docker exec -it redis redis-cli <<'REDIS'
KEYS *
REDIS
)
for key in users:all products:all products:1 orders:all; do
    has "the key $key" "$out" "^$key\$"
done
out=$(docker exec -it redis redis-cli <<'REDIS'
TTL users:all
TTL products:all
TTL orders:all
REDIS
)
[ "$(grep -Ec '^([1-9]|[1-5][0-9]|60)$' <<<"$out")" -eq 3 ] || { echo "FAILED: times to live: $out" >&2; exit 1; }
echo 'ok: a list lives for a minute at most'
out=$(docker exec -it redis redis-cli <<'REDIS'
GET users:all
GET products:1
REDIS
)
is 'what is cached is what a client gets' "$(sed -n 1p <<<"$out")" "length == 5 and .[4].username == \"eddie\""
is 'an item too' "$(sed -n 2p <<<"$out")" '.id == 1 and .stock == 45'
docker exec -it postgres psql -q -U labuser -d labdb -c "UPDATE users SET email = 'by@hand.example' WHERE id = 5"
out=$(docker exec -it redis redis-cli <<'REDIS'
DEL users:all
exit
REDIS
)
has 'a key is deleted by hand' "$out" '^1$'
# At once, but for the push by which Redis tells the host of it.
for _ in $(seq 20); do
    out=$(curl -k https://localhost/api/v1/users)
    if [ "$(jq -r '.[4].email' <<<"$out")" = by@hand.example ]; then break; fi
    sleep 0.05
done
is 'and that counts at once' "$out" '.[4].email == "by@hand.example"'

exercise 'Exercise 7: Test Cache Invalidation'

curl -k https://localhost/api/v1/users >/dev/null
out=$(docker exec -it redis redis-cli GET users:all)
is 'the cache is populated' "$out" 'length == 5'
out=$(curl -k -X POST https://localhost/api/v1/users \
  -H "Content-Type: application/json" \
  -d '{
    "username": "frank",
    "email": "frank@example.com"
  }')
is 'a new user' "$out" '.username == "frank"'
out=$(docker exec -it redis redis-cli GET users:all)
has 'the cache was invalidated' "$out" '^$'
out=$(curl -k https://localhost/api/v1/users)
is 'all users with the new one' "$out" 'length == 6 and .[5].username == "frank"'
out=$(docker exec -it redis redis-cli GET users:all)
is 'the cache is populated again' "$out" 'length == 6'

exercise 'Exercise 8: Service-to-Service Communication'

# Step 1: Create a user
USER_RESPONSE=$(curl -sk -X POST https://localhost/api/v1/users \
  -H "Content-Type: application/json" \
  -d '{
    "username": "george",
    "email": "george@example.com"
  }')
USER_ID=$(echo $USER_RESPONSE | jq -r '.id')

# Step 2: Create a product
PRODUCT_RESPONSE=$(curl -sk -X POST https://localhost/api/v1/products \
  -H "Content-Type: application/json" \
  -d '{
    "name": "Test Product",
    "description": "Test description",
    "price": 99.99,
    "stock": 100,
    "category": "Test"
  }')
PRODUCT_ID=$(echo $PRODUCT_RESPONSE | jq -r '.id')

# Step 3: Create an order
out=$(curl -k -X POST https://localhost/api/v1/orders \
  -H "Content-Type: application/json" \
  -d "{
    \"user_id\": $USER_ID,
    \"product_id\": $PRODUCT_ID,
    \"quantity\": 5,
    \"total_price\": 499.95
  }")
is 'an order of the new user' "$out" ".user_id == $USER_ID and .product_id == $PRODUCT_ID and .total_price == 499.95"

out=$(docker exec -it postgres psql -U labuser -d labdb -c "
  SELECT 
    o.id as order_id,
    u.username,
    p.name as product,
    o.quantity,
    o.total_price,
    o.status
  FROM orders o
  JOIN users u ON o.user_id = u.id
  JOIN products p ON o.product_id = p.id
  WHERE u.username = 'george';")
has 'the complete flow in the database' "$out" 'george +\| Test Product +\| +5 \| +499.95 \| pending'
has 'and nothing else' "$out" '\(1 row\)'

exercise 'Exercise 9: Error Handling and Validation'

out=$(curl -k -X POST https://localhost/api/v1/orders \
  -H "Content-Type: application/json" \
  -d '{
    "user_id": 9999,
    "product_id": 1,
    "quantity": 1,
    "total_price": 99.99
  }')
is 'an error message about an invalid user_id' "$out" '.status == 422 and (.detail | contains("invalid user_id"))'

out=$(curl -k -X POST https://localhost/api/v1/orders \
  -H "Content-Type: application/json" \
  -d '{
    "user_id": 1,
    "product_id": 9999,
    "quantity": 1,
    "total_price": 99.99
  }')
is 'an error message about an invalid product_id' "$out" '.status == 422 and (.detail | contains("invalid product_id"))'

out=$(curl -k -X POST https://localhost/api/v1/users \
  -H "Content-Type: application/json" \
  -d '{
    "username": "alice",
    "email": "newalice@example.com"
  }')
is 'an error about a duplicate username' "$out" '.status == 409 and (.detail | contains("duplicate username"))'

out=$(curl -k -X PATCH https://localhost/api/v1/orders/1/status \
  -H "Content-Type: application/json" \
  -d '{
    "status": "invalid_status"
  }')
is 'an error about an invalid status, with the valid ones' "$out" \
    '.status == 422 and (.detail | contains("invalid status")) and (.valid | length) == 4'

exercise 'Exercise 10: Performance Testing'

# Without cache (first call)
time curl -k https://localhost/api/v1/products >/dev/null
# With cache (second call)
time curl -k https://localhost/api/v1/products >/dev/null

loaded() {
    has "$1: all requests are complete" "$2" '^Complete requests: +1000$'
    has "$1: none has failed" "$2" '^Failed requests: +0$'
    has "$1: connections are kept" "$2" '^Keep-Alive requests: +(9[0-9][0-9]|1000)$'
    if grep -q '^Non-2xx' <<<"$2"; then
        printf 'FAILED: %s: not all is well\n%s\n' "$1" "$2" >&2
        exit 1
    fi
    grep '^Requests per second' <<<"$2"
}

# Test User Service
out=$(ab -n 1000 -c 10 -k https://localhost/api/v1/users 2>&1)
loaded users "$out"

# Test Product Service, and monitor service statistics during load: what `watch` would
# run every second.
ab -n 1000 -c 10 -k https://localhost/api/v1/products >"$CURL_HOME/ab" 2>&1 &
load=$!
out=$(curl -sk https://localhost/api/v1/users/stats)
wait "$load"
loaded products "$(cat "$CURL_HOME/ab")"
is 'statistics during load' "$out" '.requests.total >= 1000 and .requests.by_status["200"] >= 1000 and .latency_ms.p99 > 0'

exercise 'Monitoring and troubleshooting'

out=$(curl -k https://localhost/api/health)
is 'all services are well' "$out" '.status == "ok" and (.services | keys) == ["orders", "products", "users"]'
out=$(docker exec user-service curl -f http://localhost:5000/health)
is 'users by itself' "$out" '.service == "users" and .status == "ok"'
out=$(docker exec product-service wget -q -O- http://localhost:3000/health)
is 'products by itself' "$out" '.service == "products" and .status == "ok"'
out=$(docker exec order-service wget -q -O- "http://localhost:$ORDERS_PORT/health")
is 'orders by itself' "$out" '.service == "orders" and .status == "ok"'
out=$(curl http://localhost:5000/api/v1/stats)
is 'its statistics by itself' "$out" '.service == "users" and .rows == 7'
has 'Postgres accepts connections' "$(docker exec postgres pg_isready -U labuser -d labdb)" 'accepting connections'
has 'Redis answers' "$(docker exec redis redis-cli PING)" '^PONG$'

echo 'All exercises give what the lab says.'

#!/bin/bash
# pgbench in its three modes against any server: pgbench_steps.sh URL
#
# Reads and writes single customers of schema.sql, and orders inside a transaction. The number of transactions is fixed and each
# client has its own customers, so the sums printed at the end are the same on every server.
set -u
url=${1:?usage: pgbench_steps.sh URL}
export LC_ALL=C PATH=$PATH:$(pg_config --bindir 2>/dev/null)
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
sql() { psql -X -q -At -v ON_ERROR_STOP=1 -c "$1" "$url"; }
BASE=4000000 CLIENTS=8 TRANSACTIONS=50

cat >"$work/script" <<SQL
\set id $BASE + :client_id
\set other $BASE + random(0, $CLIENTS - 1)
SELECT name, balance FROM customers WHERE id = :other;
BEGIN;
UPDATE customers SET balance = balance + 1 WHERE id = :id;
SELECT balance FROM customers WHERE id = :id FOR UPDATE;
INSERT INTO orders (customer_id, id, total) SELECT :id, count(*), 2.50 FROM orders WHERE customer_id = :id;
COMMIT;
SQL

clean() {
    for ((client = 0; client < CLIENTS; client++)); do
        sql "DELETE FROM orders WHERE customer_id = $((BASE + client))"
        sql "DELETE FROM customers WHERE id = $((BASE + client))"
    done
}

for mode in simple extended prepared; do
    echo "-- $mode"
    clean
    for ((client = 0; client < CLIENTS; client++)); do
        sql "INSERT INTO customers (id, name) VALUES ($((BASE + client)), 'client $client')"
    done
    pgbench --no-vacuum --protocol "$mode" --client $CLIENTS --jobs 2 --transactions $TRANSACTIONS \
        --file "$work/script" "$url" 2>&1 | grep -E 'query mode|actually processed|failed|error|ERROR|FATAL'
    for ((client = 0; client < CLIENTS; client++)); do
        sql "SELECT balance FROM customers WHERE id = $((BASE + client))"
        sql "SELECT count(*), sum(total), max(id) FROM orders WHERE customer_id = $((BASE + client))"
    done
done
clean
echo "-- done"

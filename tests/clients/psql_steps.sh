#!/bin/bash
# psql against any server: psql_steps.sh URL
#
# Output as in psycopg_steps.py: text to be compared line by line with a plain PostgreSQL's. Errors are shown by psql's own
# VERBOSITY=sqlstate, because Goldseam adds the shard to the detail.
set -u
url=${1:?usage: psql_steps.sh URL}
step() { echo "-- $1"; }
run() { psql -X -q -v VERBOSITY=sqlstate "$@" "$url" 2>&1; }

step "connect"
run -Atc "SELECT 1, 'text', NULL"

step "one script, stopping at nothing"
run <<'SQL'
\pset format unaligned
SET TIME ZONE 'UTC';
DELETE FROM orders WHERE customer_id = 3000001;
DELETE FROM customers WHERE id = 3000001;
DELETE FROM customers WHERE id = 3000002;
DELETE FROM settings WHERE key LIKE 'psql-%';
\echo crud
INSERT INTO customers (id, name, balance) VALUES (3000001, 'it''s', 1.50) RETURNING *;
INSERT INTO customers VALUES (3000002, E'tab\there', 2, '{a,b}', '{"k": [1, 2]}', '1990-02-28', '2026-01-01 12:00+09');
SELECT * FROM customers WHERE id = 3000002;
UPDATE customers SET balance = balance * 2 WHERE id = '3000001' RETURNING balance;
INSERT INTO orders VALUES (3000001, 1, 10, 'first'), (3000001, 2, 20, NULL);
SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.customer_id = 3000001 ORDER BY o.id;
SELECT /* a comment */ count(*) -- and another
  FROM orders WHERE customer_id = 3000001 AND note IS NULL;
WITH mine AS (SELECT * FROM orders WHERE customer_id = 3000001) SELECT sum(total) FROM mine;
SELECT name, (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c WHERE id = 3000001;
SELECT name FROM countries WHERE code IN ('DE', 'JP') ORDER BY 1;
\echo transactions
BEGIN;
INSERT INTO orders VALUES (3000001, 3, 30);
SAVEPOINT a;
INSERT INTO orders VALUES (3000001, 1, 99);
SELECT 'ignored';
ROLLBACK TO a;
SELECT count(*) FROM orders WHERE customer_id = 3000001;
RELEASE a;
COMMIT AND CHAIN;
DELETE FROM orders WHERE customer_id = 3000001 AND id = 3;
ROLLBACK;
SELECT count(*) FROM orders WHERE customer_id = 3000001;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
UPDATE customers SET balance = 0 WHERE id = 3000001;
COMMIT;
\echo several statements in one message
BEGIN\; UPDATE customers SET balance = 7 WHERE id = 3000001\; SELECT balance FROM customers WHERE id = 3000001\; COMMIT;
SELECT 1\; SELECT 1/0\; SELECT 2;
\echo prepared statements and cursors in SQL
PREPARE by_id (bigint) AS SELECT id, name FROM customers WHERE id = $1;
EXECUTE by_id(3000001);
EXECUTE by_id(3000002);
DEALLOCATE by_id;
EXECUTE by_id(3000001);
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM orders WHERE customer_id = 3000001 ORDER BY id;
FETCH 1 FROM c;
MOVE 1 FROM c;
FETCH ALL FROM c;
CLOSE c;
COMMIT;
\echo settings
SET statement_timeout = '3s';
SHOW statement_timeout;
BEGIN;
SET LOCAL search_path = pg_catalog;
SHOW search_path;
ROLLBACK;
SHOW search_path;
RESET statement_timeout;
SHOW statement_timeout;
SET no_such_setting = 1;
\echo copy
COPY settings (key, value) FROM stdin;
psql-a	1
psql-b	2
\.
COPY (SELECT * FROM settings WHERE key LIKE 'psql-%' ORDER BY key) TO STDOUT;
COPY settings (key, value) FROM stdin;
psql-c	three
\.
SELECT count(*) FROM settings WHERE key LIKE 'psql-%';
\echo errors
SELEC 1;
SELECT * FROM no_such_table;
SELECT no_such_column FROM customers WHERE id = 3000001;
SELECT 'abc'::int;
INSERT INTO customers (id, name) VALUES (3000001, 'twice');
SELECT "unfinished;
";
SELECT 'recovered';
\echo extended protocol
SELECT id, name FROM customers WHERE id = 3000001 \gdesc
SELECT $$dollar 'quoted'$$ AS quoted, U&'d\0061ta' AS escaped;
DELETE FROM orders WHERE customer_id = 3000001;
DELETE FROM customers WHERE id = 3000001;
DELETE FROM customers WHERE id = 3000002;
DELETE FROM settings WHERE key LIKE 'psql-%';
SQL

step "introspection"
run <<'SQL'
\d customers
\d orders
\dt
\di
\dn
SELECT current_database() = current_catalog, current_schema(), pg_backend_pid() > 0, version() LIKE 'PostgreSQL %';
SQL

step "an interrupt cancels the query and nothing else"
# psql answers SIGINT with a cancel request; whether and when it says so is chance.
timeout --signal=INT --kill-after=10 1 psql -X -q -At -v VERBOSITY=sqlstate -c "SELECT pg_sleep(30)" "$url" 2>&1 | grep -v "Cancel request sent"
run -Atc "SELECT 'after the interrupt'"
step "done"

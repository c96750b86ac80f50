-- The tables of the client programs in this folder. A single PostgreSQL has them once; of Goldseam's shards each has them all, and
-- vschema.toml says which rows live where. Loaded straight into the servers, because DDL over several shards is not yet taken.
SET client_min_messages = warning;
DROP TABLE IF EXISTS customers, orders, order_items, countries, settings;

-- Sharded by hash, co-located on the customer.
CREATE TABLE customers (
    id      bigint PRIMARY KEY,
    name    text NOT NULL,
    balance numeric(12, 2) NOT NULL DEFAULT 0,
    tags    text[] NOT NULL DEFAULT '{}',
    data    jsonb,
    born    date,
    seen    timestamptz,
    CONSTRAINT customers_balance_check CHECK (balance >= -1000)
);
CREATE TABLE orders (
    customer_id bigint NOT NULL REFERENCES customers (id),
    id          bigint NOT NULL,
    total       numeric(12, 2) NOT NULL,
    note        text,
    PRIMARY KEY (customer_id, id)
);
CREATE TABLE order_items (
    customer_id bigint NOT NULL,
    order_id    bigint NOT NULL,
    line        int NOT NULL,
    product     text NOT NULL,
    quantity    int NOT NULL,
    PRIMARY KEY (customer_id, order_id, line)
);

-- Reference: a whole copy on every shard.
CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France'), ('JP', 'Japan'), ('NZ', 'New Zealand');

-- Unsharded: all its rows on the first shard.
CREATE TABLE settings (key text PRIMARY KEY, value int);

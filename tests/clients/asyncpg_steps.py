"""asyncpg against any server: asyncpg_steps.py URL

asyncpg is the client that sends Parse, Describe and Flush without a Sync, looks types up in between, speaks binary throughout and
names its portals. Output as in psycopg_steps.py: text to be compared line by line with a plain PostgreSQL's.
"""

import asyncio
import datetime
import decimal
import json
import sys

import asyncpg

URL = sys.argv[1]
# Far from the other programs' rows, so that all may run at once.
BASE = 2_000_000


def step(title):
    print(f"-- {title}", flush=True)


def show(rows):
    for row in rows:
        print("  ", dict(row))


async def fails(awaitable):
    """The error a step must end in. Not its detail, where Goldseam names the shard."""
    try:
        await awaitable
    except asyncpg.PostgresError as error:
        print("  ", error.sqlstate, type(error).__name__, str(error).splitlines()[0])
    else:
        print("   no error")


async def clean(conn):
    for id in range(BASE, BASE + 60):
        await conn.execute("DELETE FROM orders WHERE customer_id = $1", id)
        await conn.execute("DELETE FROM customers WHERE id = $1", id)
    await conn.execute("DELETE FROM settings WHERE key LIKE 'asyncpg-%'")


async def crud(conn):
    step("insert, read, update and delete on a sharded table")
    await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    for n in range(12):
        status = await conn.execute(
            "INSERT INTO customers (id, name, balance, tags, data, born, seen) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            BASE + n,
            f"customer {n}",
            decimal.Decimal(n) / 4,
            [f"t{n}", "a,b", 'q"q'],
            {"n": n},
            datetime.date(1990, 1, 1) + datetime.timedelta(days=n),
            datetime.datetime(2026, 1, 1, n, tzinfo=datetime.timezone.utc),
        )
    print("  ", status)
    for n in range(12):
        show(await conn.fetch("SELECT name, balance, tags, data, born, seen FROM customers WHERE id = $1", BASE + n))
    print("  ", await conn.fetchval("UPDATE customers SET balance = 50 WHERE id = $1 RETURNING balance", BASE + 1))
    print("  ", await conn.fetchrow("SELECT id FROM customers WHERE id = ANY($1::int8[])", [BASE + 1]))
    print("  ", await conn.execute("DELETE FROM customers WHERE id = $1", BASE + 11))
    print("  ", await conn.fetchrow("SELECT id FROM customers WHERE id = $1", BASE + 11))
    step("many rows in one batch of binds")
    await conn.executemany(
        "INSERT INTO orders (customer_id, id, total, note) VALUES ($1, $2, $3, $4)",
        [(BASE + 2, n, decimal.Decimal(n) * 3, None if n % 2 else "even") for n in range(30)],
    )
    show(await conn.fetch("SELECT count(*), sum(total), count(note) FROM orders WHERE customer_id = $1", BASE + 2))
    step("a join and a reference table")
    show(
        await conn.fetch(
            "SELECT c.name, o.id, r.name AS country FROM customers c JOIN orders o ON o.customer_id = c.id "
            "JOIN countries r ON r.code = $2 WHERE c.id = $1 AND o.id < 3 ORDER BY o.id",
            BASE + 2,
            "NZ",
        )
    )
    step("several statements at once")
    print("  ", await conn.execute("SET TIME ZONE 'UTC'; SELECT 1; SELECT 2"))


async def statements(conn):
    step("prepared statements")
    statement = await conn.prepare("SELECT id, name FROM customers WHERE id = $1")
    print("  ", [(parameter.name, parameter.kind) for parameter in statement.get_parameters()])
    print("  ", [(attribute.name, attribute.type.name) for attribute in statement.get_attributes()])
    for n in range(6):
        show(await statement.fetch(BASE + n))
    second = await conn.prepare("SELECT id, name FROM customers WHERE id = $1")
    show(await second.fetch(BASE + 3))
    show(await statement.fetch(BASE + 4))


async def transactions(conn):
    step("transactions and savepoints")
    async with conn.transaction():
        await conn.execute("UPDATE customers SET balance = 100 WHERE id = $1", BASE + 4)
        try:
            async with conn.transaction():
                await conn.execute("UPDATE customers SET balance = -5000 WHERE id = $1", BASE + 4)
        except asyncpg.CheckViolationError as error:
            print("  ", error.sqlstate, error.constraint_name, error.table_name)
        print("  ", conn.is_in_transaction(), await conn.fetchval("SELECT balance FROM customers WHERE id = $1", BASE + 4))
    print("  ", conn.is_in_transaction())
    transaction = conn.transaction(isolation="serializable", readonly=True)
    await transaction.start()
    print("  ", await conn.fetchval("SHOW transaction_isolation"))
    await fails(conn.execute("UPDATE customers SET balance = 1 WHERE id = $1", BASE + 4))
    await transaction.rollback()
    print("  ", await conn.fetchval("SELECT balance FROM customers WHERE id = $1", BASE + 4))


async def cursors(conn):
    step("cursors")
    async with conn.transaction():
        ids = [row["id"] async for row in conn.cursor("SELECT id FROM orders WHERE customer_id = $1 ORDER BY id", BASE + 2, prefetch=7)]
        print("  ", ids)
        cursor = await conn.cursor("SELECT id FROM orders WHERE customer_id = $1 ORDER BY id", BASE + 2)
        print("  ", await cursor.fetch(2), await cursor.forward(5), await cursor.fetchrow())


async def copying(conn):
    step("copy in and out of an unsharded table")
    print("  ", await conn.copy_records_to_table("settings", columns=["key", "value"], records=[(f"asyncpg-{n:04}", n) for n in range(500)]))
    print("  ", await conn.fetchval("SELECT sum(value) FROM settings WHERE key LIKE 'asyncpg-%'"))
    blocks = []

    async def keep(block):
        blocks.append(block)

    print(
        "  ",
        await conn.copy_from_query(
            "SELECT key, value FROM settings WHERE key LIKE 'asyncpg-%' ORDER BY key", output=keep, format="csv"
        ),
    )
    text = b"".join(blocks).splitlines()
    print("  ", len(text), text[0], text[-1])


async def errors(conn):
    step("errors and recovery")
    await fails(conn.fetch("SELEC 1"))
    await fails(conn.fetch("SELECT * FROM no_such_table"))
    await fails(conn.fetch("SELECT 1 / $1::int", 0))
    await fails(conn.execute("INSERT INTO customers (id, name) VALUES ($1, 'twice')", BASE + 1))
    await fails(conn.execute("INSERT INTO customers (id, name) VALUES ($1, $2)", BASE + 50, None))
    print("  ", await conn.fetchval("SELECT 'recovered'"))


async def cancelling(conn):
    step("cancel")
    try:
        await conn.fetch("SELECT pg_sleep(30)", timeout=0.5)
    except asyncio.TimeoutError:
        print("   cancelled after the timeout")
    print("  ", await conn.fetchval("SELECT 'after the cancel'"))


async def notifying(conn):
    step("listen and notify")
    heard = asyncio.Queue()
    await conn.add_listener("asyncpg_steps", lambda _conn, _pid, channel, payload: heard.put_nowait((channel, payload)))
    other = await asyncpg.connect(URL)
    await other.execute("NOTIFY asyncpg_steps, 'first'")
    await other.execute("SELECT pg_notify('asyncpg_steps', $1)", "second")
    for _ in range(2):
        print("  ", await asyncio.wait_for(heard.get(), 10))
    await other.close()


async def pool():
    step("a pool, which resets a connection before it lends it again")
    async with asyncpg.create_pool(URL, min_size=1, max_size=4) as connections:

        async def read(n):
            async with connections.acquire() as conn:
                await conn.execute("SET statement_timeout = '9s'")
                return await conn.fetchval("SELECT name FROM customers WHERE id = $1", BASE + n)

        print("  ", await asyncio.gather(*(read(n) for n in range(10))))
        async with connections.acquire() as conn:
            print("  ", await conn.fetchval("SHOW statement_timeout"))


async def introspection(conn):
    step("introspection of a composite and an array type")
    show(await conn.fetch("SELECT (c).id, (c).name FROM (SELECT customers AS c FROM customers WHERE id = $1) AS one", BASE + 1))
    print("  ", await conn.fetchval("SELECT ARRAY['2026-01-01'::date, NULL]"))
    print("  ", await conn.fetchval("SELECT int4range(1, 5)"))
    print("  ", conn.get_settings().TimeZone, conn.get_server_version().major >= 13)


async def main():
    conn = await asyncpg.connect(URL)
    step("connect")
    show(await conn.fetch("SELECT 1 AS one, 'text' AS two, NULL AS three"))
    await clean(conn)
    await crud(conn)
    await statements(conn)
    await transactions(conn)
    await cursors(conn)
    await copying(conn)
    await errors(conn)
    await cancelling(conn)
    await notifying(conn)
    await pool()
    await introspection(conn)
    await clean(conn)
    await conn.close()
    step("done")


asyncio.run(main())

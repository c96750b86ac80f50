"""psycopg 3 against any server: psycopg_steps.py URL

Prints the outcome of every step as text, without anything that differs from run to run, so that the output through Goldseam can be
compared line by line with a plain PostgreSQL's. Tables: schema.sql beside this file.
"""

import datetime
import decimal
import logging
import sys
import threading

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

URL = sys.argv[1]
# A pipeline that fails has two errors: the statement's, which is raised, and that of what was skipped after it. Where the second comes
# while the first is being raised, psycopg logs it, with an address in memory and a port; whether it does depends on how the server's
# bytes fall into packets, at a plain server as well (PostgreSQL flushes an ErrorResponse at once, the rest with the Sync).
logging.getLogger("psycopg").setLevel(logging.CRITICAL)
# Far from the other programs' rows, so that all may run at once.
BASE = 1_000_000


def step(title):
    print(f"-- {title}", flush=True)


def show(cursor):
    for row in cursor.fetchall():
        print("  ", row)
    print("  ", cursor.statusmessage)


def fails(run):
    """The error a step must end in. Not its detail, where Goldseam names the shard."""
    try:
        run()
    except psycopg.Error as error:
        print("  ", error.sqlstate, type(error).__name__, str(error).splitlines()[0])
    else:
        print("   no error")


def clean(conn):
    for id in range(BASE, BASE + 60):
        conn.execute("DELETE FROM order_items WHERE customer_id = %s", (id,))
        conn.execute("DELETE FROM orders WHERE customer_id = %s", (id,))
        conn.execute("DELETE FROM customers WHERE id = %s", (id,))
    conn.execute("DELETE FROM settings WHERE key LIKE 'psycopg-%'")


def connecting(conn):
    step("connect")
    print("  ", conn.info.status.name, conn.info.transaction_status.name, conn.info.encoding)
    print("  ", conn.info.parameter_status("standard_conforming_strings"), conn.info.parameter_status("DateStyle"))
    show(conn.execute("SELECT 1 AS one, 'text' AS two, NULL AS three"))
    conn.execute("SET TIME ZONE 'UTC'")


def crud(conn):
    step("insert, read, update and delete on a sharded table")
    cursor = conn.cursor()
    for n in range(20):
        cursor.execute(
            "INSERT INTO customers (id, name, balance, tags, data, born, seen) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                BASE + n,
                f"customer {n}",
                decimal.Decimal(n) / 4,
                [f"t{n}", "a,b", 'q"q'],
                Jsonb({"n": n, "deep": [1, {"x": None}]}),
                datetime.date(1990, 1, 1) + datetime.timedelta(days=n),
                datetime.datetime(2026, 1, 1, n, tzinfo=datetime.timezone.utc),
            ),
        )
    print("  ", cursor.statusmessage)
    # More often than the threshold at which psycopg prepares a statement on the server.
    for n in range(12):
        cursor.execute("SELECT name, balance, tags, data, born, seen FROM customers WHERE id = %s", (BASE + n,))
        print("  ", cursor.fetchone())
    step("the same in binary, with the client's own cast, and as a literal")
    show(conn.cursor(binary=True).execute("SELECT id, name, balance, born FROM customers WHERE id = %b", (BASE + 3,)))
    show(conn.execute("SELECT id, name FROM customers WHERE id = %s::int4", (BASE + 3,)))
    show(conn.execute(sql.SQL("SELECT id, name FROM customers WHERE id = {}").format(sql.Literal(BASE + 3))))
    show(conn.execute(f"SELECT id, name FROM customers WHERE id = '{BASE + 3}'"))
    show(conn.execute("SELECT id, name FROM customers WHERE id = ANY(%s)", ([BASE + 3],)))
    step("returning, for update, and rows as dictionaries")
    show(conn.execute("UPDATE customers SET balance = balance + 10 WHERE id = %s RETURNING id, balance", (BASE + 1,)))
    show(conn.cursor(row_factory=dict_row).execute("SELECT id, balance FROM customers WHERE id = %s FOR UPDATE", (BASE + 1,)))
    show(conn.execute("DELETE FROM customers WHERE id = %s RETURNING name", (BASE + 19,)))
    show(conn.execute("SELECT count(*) FROM customers WHERE id = %s", (BASE + 19,)))
    step("upsert")
    for _ in range(2):
        show(
            conn.execute(
                "INSERT INTO customers (id, name) VALUES (%s, 'new') ON CONFLICT (id) DO UPDATE SET name = 'seen before' "
                "RETURNING name",
                (BASE + 20,),
            )
        )
    step("several rows of one customer, a join and a reference table")
    with conn.cursor() as many:
        many.executemany(
            "INSERT INTO orders (customer_id, id, total, note) VALUES (%s, %s, %s, %s)",
            [(BASE + 2, n, decimal.Decimal(n) * 3, None if n % 2 else "even") for n in range(6)],
        )
        print("  ", many.rowcount)
    show(
        conn.execute(
            "SELECT c.name, o.id, o.total, r.name FROM customers c JOIN orders o ON o.customer_id = c.id "
            "LEFT JOIN countries r ON r.code = 'JP' WHERE c.id = %s ORDER BY o.id",
            (BASE + 2,),
        )
    )
    show(conn.execute("SELECT sum(total), count(note) FROM orders WHERE customer_id = %s", (BASE + 2,)))
    show(conn.execute("SELECT name FROM countries ORDER BY code"))


def transactions():
    step("transactions and savepoints")
    with psycopg.connect(URL) as conn:
        with conn.transaction():
            conn.execute("UPDATE customers SET balance = 100 WHERE id = %s", (BASE + 4,))
            try:
                with conn.transaction():
                    conn.execute("UPDATE customers SET balance = 200 WHERE id = %s", (BASE + 4,))
                    raise psycopg.Rollback
            except psycopg.Rollback:
                pass
            try:
                with conn.transaction():
                    conn.execute("UPDATE customers SET balance = -5000 WHERE id = %s", (BASE + 4,))
            except psycopg.errors.CheckViolation as error:
                print("  ", error.diag.sqlstate, error.diag.constraint_name, error.diag.table_name)
            print("  ", conn.info.transaction_status.name)
            show(conn.execute("SELECT balance FROM customers WHERE id = %s", (BASE + 4,)))
        print("  ", conn.info.transaction_status.name)
        conn.execute("DELETE FROM customers WHERE id = %s", (BASE + 4,))
        conn.rollback()
        show(conn.execute("SELECT balance FROM customers WHERE id = %s", (BASE + 4,)))
        conn.rollback()
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        show(conn.execute("SHOW transaction_isolation"))
        fails(lambda: conn.execute("UPDATE customers SET balance = 1 WHERE id = %s", (BASE + 4,)))
        print("  ", conn.info.transaction_status.name)
        fails(lambda: conn.execute("SELECT 1"))
        conn.rollback()


def pipelines(conn):
    step("pipeline")
    with conn.pipeline():
        cursors = [conn.execute("SELECT id, name FROM customers WHERE id = %s", (BASE + n,)) for n in range(8)]
    for cursor in cursors:
        print("  ", cursor.fetchone())
    step("an error in a pipeline")

    def broken():
        with conn.pipeline() as pipeline:
            conn.execute("SELECT 1")
            conn.execute("SELECT no_such_column FROM customers WHERE id = %s", (BASE,))
            conn.execute("SELECT 2")
            pipeline.sync()

    fails(broken)
    show(conn.execute("SELECT 'still here'"))


def cursors():
    step("named cursors")
    with psycopg.connect(URL) as conn:
        with conn.cursor("by_order") as cursor:
            cursor.execute("SELECT id, total FROM orders WHERE customer_id = %s ORDER BY id", (BASE + 2,))
            print("  ", cursor.fetchone(), cursor.fetchmany(2), cursor.fetchall())
        with conn.cursor("scrolling", scrollable=True) as cursor:
            cursor.execute("SELECT id FROM orders WHERE customer_id = %s ORDER BY id", (BASE + 2,))
            cursor.scroll(3)
            print("  ", cursor.fetchone())
            cursor.scroll(-2)
            print("  ", cursor.fetchone())
    step("a cursor with hold outlives its transaction")
    with psycopg.connect(URL) as conn:
        with conn.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT id FROM orders WHERE customer_id = %s ORDER BY id", (BASE + 2,))
            print("  ", cursor.fetchmany(2))
            conn.commit()
            print("  ", cursor.fetchall())


def copying(conn):
    step("copy in and out of an unsharded table")
    with conn.cursor() as cursor:
        with cursor.copy("COPY settings (key, value) FROM STDIN") as copy:
            for n in range(1000):
                copy.write_row((f"psycopg-{n:04}", n))
        print("  ", cursor.rowcount)
        show(cursor.execute("SELECT count(*), sum(value) FROM settings WHERE key LIKE 'psycopg-%'"))
        with cursor.copy("COPY (SELECT key, value FROM settings WHERE key LIKE 'psycopg-%' ORDER BY key) TO STDOUT") as copy:
            rows = [bytes(block) for block in copy]
        print("  ", len(rows), rows[0], rows[-1])
    step("copy that breaks off")

    def broken():
        with conn.cursor() as cursor, cursor.copy("COPY settings (key, value) FROM STDIN") as copy:
            copy.write("psycopg-broken\tnot a number\n")

    fails(broken)
    show(conn.execute("SELECT count(*) FROM settings WHERE key = 'psycopg-broken'"))


def errors(conn):
    step("errors and recovery")
    fails(lambda: conn.execute("SELEC 1"))
    fails(lambda: conn.execute("SELECT * FROM no_such_table"))
    fails(lambda: conn.execute("SELECT 1/0"))
    fails(lambda: conn.execute("INSERT INTO customers (id, name) VALUES (%s, 'twice')", (BASE + 1,)))
    fails(lambda: conn.execute("INSERT INTO customers (id, name) VALUES (%s, NULL)", (BASE + 50,)))
    fails(lambda: conn.execute("SELECT name FROM customers WHERE id = 'abc'"))
    fails(lambda: conn.execute("INSERT INTO orders (customer_id, id, total) VALUES (%s, 1, 1)", (BASE + 51,)))
    show(conn.execute("SELECT 'recovered'"))


def settings():
    step("settings stay with their session")
    with psycopg.connect(URL, autocommit=True) as one, psycopg.connect(URL, autocommit=True) as two:
        one.execute("SET application_name = 'one'")
        one.execute("SET TIME ZONE 'Asia/Tokyo'")
        one.execute("SET statement_timeout = '7s'")
        two.execute("SET TIME ZONE 'UTC'")
        for conn in (one, two, one, two):
            print("  ", conn.execute("SHOW TimeZone").fetchone(), conn.execute("SHOW statement_timeout").fetchone())
        print("  ", one.info.parameter_status("TimeZone"), two.info.parameter_status("TimeZone"))
        with one.transaction():
            one.execute("SET LOCAL statement_timeout = '1s'")
            show(one.execute("SHOW statement_timeout"))
        show(one.execute("SHOW statement_timeout"))
        one.execute("RESET ALL")
        show(one.execute("SHOW statement_timeout"))


def cancelling():
    step("cancel")
    with psycopg.connect(URL, autocommit=True) as conn:
        timer = threading.Timer(0.5, conn.cancel_safe)
        timer.start()
        fails(lambda: conn.execute("SELECT pg_sleep(30)"))
        timer.join()
        show(conn.execute("SELECT 'after the cancel'"))
        conn.execute("SET statement_timeout = '200ms'")
        fails(lambda: conn.execute("SELECT pg_sleep(30)"))
        show(conn.execute("SELECT 'after the timeout'"))


def notifying():
    step("listen and notify")
    with psycopg.connect(URL, autocommit=True) as listener, psycopg.connect(URL, autocommit=True) as speaker:
        listener.execute("LISTEN psycopg_steps")
        speaker.execute("SELECT pg_notify('psycopg_steps', 'first')")
        speaker.execute("NOTIFY psycopg_steps, 'second'")
        for notice in listener.notifies(timeout=10, stop_after=2):
            print("  ", notice.channel, notice.payload)
        listener.execute("UNLISTEN *")
        speaker.execute("NOTIFY psycopg_steps, 'nobody hears'")
        print("  ", list(listener.notifies(timeout=0.3)))


def introspection(conn):
    step("introspection")
    show(
        conn.execute(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position",
            ("customers",),
        )
    )
    show(
        conn.execute(
            "SELECT conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = 'orders'::regclass ORDER BY conname"
        )
    )
    show(conn.execute("SELECT to_regclass('customers')::text, to_regclass('nowhere')::text"))


def main():
    with psycopg.connect(URL, autocommit=True) as conn:
        clean(conn)
        connecting(conn)
        crud(conn)
        transactions()
        pipelines(conn)
        cursors()
        copying(conn)
        errors(conn)
        settings()
        cancelling()
        notifying()
        introspection(conn)
        clean(conn)
    step("done")


main()

-- The tables of the proof and their rows, made once on the plain server; the shards get theirs from there, each row where the vindexes say.
-- Nothing here depends on chance or on the time. Floating-point numbers are sums of few powers of two, so that their sums do not depend on
-- the order of adding, except in `wild`; and of numbers that are equal and look different (1.1 and 1.10) there are none, because which of
-- them stands for a group depends on the order of rows. A statement ends with a semicolon at a line's end.

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE BETWEEN 0 AND 100);

CREATE TABLE region (code char(3) PRIMARY KEY, name text NOT NULL, rank int, zone text COLLATE "und-x-icu");
CREATE TABLE currency (code text PRIMARY KEY, rate numeric NOT NULL, digits smallint);
CREATE TABLE setting (name text PRIMARY KEY, value text, n int);

CREATE TABLE buyer (
    id bigint PRIMARY KEY, name text NOT NULL, nick text COLLATE "und-x-icu", email varchar(40), region char(3) REFERENCES region,
    mood mood, joined date, score numeric, active boolean, tags text[], level int, balance float8, share percent
);
CREATE TABLE sale (
    buyer_id bigint REFERENCES buyer, id int, amount numeric NOT NULL, qty int, placed timestamptz, status text, ref uuid, weight float4,
    PRIMARY KEY (buyer_id, id)
);
CREATE TABLE item (
    buyer_id bigint, sale_id int, n smallint, product varchar(20), price numeric(10,2), discount float8, units bigint,
    PRIMARY KEY (buyer_id, sale_id, n), FOREIGN KEY (buyer_id, sale_id) REFERENCES sale
);
CREATE TABLE thing (
    id int PRIMARY KEY, i2 smallint, i4 int, i8 bigint, num numeric, dec numeric(12,3), f4 float4, f8 float8, wild float8,
    t text, vc varchar(12), ch char(6), nm name, by bytea, b boolean, d date, ti time, tz timetz, ts timestamp, tstz timestamptz, iv interval,
    u uuid, j json, jb jsonb, ia int[], ta text[], mood mood, ip inet, net cidr, mac macaddr, cash money, bits bit(4), vb bit varying,
    r int4range, nr numrange, p point, c "char", o oid, grp int
);
CREATE TABLE lone (id bigint PRIMARY KEY, v int, t text);
CREATE TABLE blank (id bigint PRIMARY KEY, v int, n numeric, f float8, t text, b boolean);
CREATE TABLE reading (day date, id int, sensor text, value float8, level numeric(8,3), PRIMARY KEY (day, id));
CREATE TABLE page (tenant text, id int, title text, words int, made timestamp, PRIMARY KEY (tenant, id));
CREATE TABLE account (name text PRIMARY KEY, owner bigint, opened date, amount numeric(14,4));
CREATE TABLE office (country text, id int, city text, staff int, PRIMARY KEY (country, id));
CREATE TABLE ledger (book text, number int, line int, amount numeric(12,2), memo text, PRIMARY KEY (book, number, line));
CREATE TABLE parcel (id uuid PRIMARY KEY, grams int, sent timestamp, note text);

CREATE TYPE pos AS (x int, y numeric, label text);
CREATE TYPE step AS (at pos, mood mood, days int[]);
CREATE DOMAIN word AS text CHECK (VALUE <> '');
CREATE TYPE span AS RANGE (SUBTYPE = float8);
CREATE TABLE odd (
    id int PRIMARY KEY, pos pos, poses pos[], step step, moods mood[], share percent, shares percent[], w word, days daterange,
    times tstzrange, ints int8multirange, span span, tv tsvector, tq tsquery, x xml, box box, circle circle, path path, mac8 macaddr8,
    lsn pg_lsn, jp jsonpath, nums numeric[], big numeric(38,10), tiny numeric(3,3), ts0 timestamp(0), tstz3 timestamptz(3),
    ym interval year to month, dts interval day to second(2), chs char(4)[], vcs varchar(5)[], bas bytea[], jbs jsonb[], dates date[],
    uuids uuid[], matrix int[][], shifted int[], bitss bit(3)[], tm time(2), tstzs timestamptz[], f4s float4[], bools bool[], xid xid8,
    nms name[], ip inet, chars "char"[], tid tid, grp int
);
CREATE TABLE link (id int, other int, kind text, w word, days daterange, pos pos, PRIMARY KEY (id, other));

CREATE VIEW v_rich AS SELECT id, name, level, region FROM buyer WHERE level > 2;
CREATE VIEW v_totals AS SELECT buyer_id, sum(amount) AS total, count(*) AS n FROM sale GROUP BY buyer_id;
CREATE VIEW v_status AS SELECT status, count(*) AS n, sum(amount) AS total FROM sale GROUP BY status;
CREATE VIEW v_joined (who, sale, product) AS SELECT b.name, s.id, i.product FROM buyer b JOIN sale s ON s.buyer_id = b.id
    LEFT JOIN item i ON i.buyer_id = s.buyer_id AND i.sale_id = s.id;
CREATE VIEW v_many AS SELECT * FROM v_totals WHERE n > 3;
CREATE VIEW v_regions AS SELECT r.code, r.name, (SELECT count(*) FROM buyer b WHERE b.region = r.code) AS buyers FROM region r;
CREATE VIEW v_zones AS SELECT code, zone FROM region WHERE zone IS NOT NULL;

CREATE FUNCTION f_double(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION f_label(n int) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN CASE WHEN n > 2 THEN 'many' ELSE 'few' END; END $$;
CREATE FUNCTION f_upto(n int) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT generate_series(1, $1)';
CREATE FUNCTION f_pair(a int, OUT b int, OUT c text) LANGUAGE sql IMMUTABLE AS $$ SELECT a + 1, 'p' || a $$;
CREATE FUNCTION f_reads() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM sale';
CREATE FUNCTION f_join(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce($1 || '+', '') || $2 $$;
CREATE AGGREGATE a_join(text) (SFUNC = f_join, STYPE = text);
CREATE FUNCTION f_times(pos, int) RETURNS pos LANGUAGE sql IMMUTABLE AS 'SELECT ROW(($1).x * $2, ($1).y * $2, ($1).label)::pos';
CREATE OPERATOR *** (LEFTARG = pos, RIGHTARG = int, FUNCTION = f_times);
CREATE FUNCTION f_touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.memo := coalesce(NEW.memo, '') || '*'; RETURN NEW; END $$;
CREATE TABLE touched (id bigint PRIMARY KEY, n int DEFAULT 7 CHECK (n < 1000), memo text DEFAULT 'new', twice int GENERATED ALWAYS AS (n * 2) STORED,
    at date DEFAULT '2026-01-01');
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON touched FOR EACH ROW EXECUTE FUNCTION f_touch();

INSERT INTO region VALUES ('DE', 'Deutschland', 1, 'Äa'), ('AT', 'Österreich', 2, 'zb'), ('FR', 'France', 3, 'Zb'), ('NO', 'Norge', NULL, NULL),
    ('XX', 'nowhere', 3, 'äb');
INSERT INTO currency VALUES ('EUR', 1, 2), ('USD', 1.0825, 2), ('JPY', 161.2300, 0), ('BTC', 0.0000163400000, 8);
INSERT INTO setting VALUES ('theme', 'dark', 1), ('limit', '10', 2), ('empty', NULL, NULL);

INSERT INTO buyer SELECT i,
    (ARRAY['Ada', 'Bo', 'Çelik', 'ada', 'Zoë', 'Ørsted', '李', 'bo', 'Éva', ' Ada', '', 'Ada-Lovelace'])[1 + i * 7 % 12],
    CASE WHEN i % 5 = 0 THEN NULL ELSE (ARRAY['ä', 'A', 'z', 'Z', 'a'])[1 + i % 5] || i % 7 END,
    CASE WHEN i % 4 = 0 THEN NULL ELSE 'b' || i || '@example.org' END,
    (ARRAY['DE', 'AT', 'FR', NULL, 'DE'])[1 + i % 5],
    (ARRAY['ok', 'sad', 'happy', NULL])[1 + i % 4]::mood,
    CASE WHEN i % 11 = 0 THEN NULL ELSE DATE '2025-11-20' + (i * 13 % 90) END,
    CASE i % 8 WHEN 0 THEN NULL WHEN 1 THEN 1.10 WHEN 2 THEN 1.200 WHEN 3 THEN i / 7.0 WHEN 4 THEN 'NaN' WHEN 5 THEN -0.000001 * i ELSE i END,
    CASE i % 6 WHEN 0 THEN NULL ELSE i % 3 = 0 END,
    CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN ARRAY['a', 'b' || i % 4] ELSE '{}' END,
    CASE WHEN i % 9 = 0 THEN NULL ELSE i % 6 END,
    CASE i % 10 WHEN 0 THEN NULL WHEN 1 THEN 0 ELSE (i - 20) * 0.25 END,
    CASE WHEN i % 2 = 0 THEN i END
  FROM generate_series(1, 60) i;
INSERT INTO buyer (id, name, level, active) VALUES (-7, 'minus', 2, true), (9223372036854775807, 'most', 5, false), (1000000007, 'Bo', NULL, NULL);
-- The sales are skewed: buyer 7 has every third one.
INSERT INTO sale SELECT CASE WHEN i % 3 = 0 THEN 7 ELSE 1 + i * 17 % 45 END, i,
    CASE i % 7 WHEN 0 THEN 0 WHEN 1 THEN 10 WHEN 2 THEN 10.500 WHEN 3 THEN -3.5 ELSE i * 1.37 END,
    CASE WHEN i % 6 = 0 THEN NULL ELSE i % 5 END,
    CASE WHEN i % 13 = 0 THEN NULL ELSE TIMESTAMPTZ '2026-01-01 00:00:00+00' + i * INTERVAL '7 hours 13 minutes' END,
    (ARRAY['new', 'paid', 'sent', NULL, 'New'])[1 + i % 5],
    CASE WHEN i % 4 = 0 THEN NULL ELSE ('00000000-0000-4000-8000-' || lpad(to_hex(i * 7919 % 100), 12, '0'))::uuid END,
    CASE WHEN i % 5 = 0 THEN NULL ELSE (i % 16) * 0.5 END
  FROM generate_series(1, 150) i;
INSERT INTO item SELECT s.buyer_id, s.id, k, (ARRAY['pen', 'Pen', 'ink', 'book', 'Übung'])[1 + (s.id + k) % 5],
    CASE WHEN (s.id + k) % 9 = 0 THEN NULL ELSE (s.id * 7 + k) % 50 + 0.99 END, CASE WHEN k = 2 THEN NULL ELSE (s.id % 4) * 0.125 END,
    CASE WHEN s.id % 10 = 0 THEN 9000000000000000000 ELSE s.id + k END
  FROM sale s, generate_series(1, 3) k WHERE k <= s.id % 4;

INSERT INTO thing SELECT i, i % 5 - 2, (i * 37) % 11, i * 1000000007::bigint,
    CASE i % 6 WHEN 0 THEN NULL WHEN 1 THEN i * 1.000 WHEN 2 THEN i WHEN 3 THEN 1e20 / i WHEN 4 THEN -i * 0.00000000000000000001 ELSE 12345678901234567890.123456789 END,
    i * 3.25 - 20, CASE WHEN i % 7 = 0 THEN NULL ELSE i * 0.5 - 3 END, CASE WHEN i % 7 = 1 THEN NULL ELSE i * 0.25 - 2 END, i * 0.1,
    (ARRAY['b', 'B', 'a', 'ä', 'A', 'Z', 'z', 'ab', 'a b', 'a-b', '', 'é', U&'e\0301', '日本', '🦀'])[1 + i % 15],
    (ARRAY['x', 'x ', 'X', 'y', NULL])[1 + i % 5], (ARRAY['q', 'q ', 'Q', 'r', NULL])[1 + i % 5], 'n' || i % 4,
    (ARRAY['\x00', '\x0001', '\xff', '\x', NULL]::bytea[])[1 + i % 5], (ARRAY[true, false, NULL])[1 + i % 3],
    DATE '2026-01-30' + i, TIME '23:59:30' - i * INTERVAL '11 minutes', ((TIME '12:00' + i % 4 * INTERVAL '1 hour')::text || (ARRAY['+00', '+02', '-01', '+01'])[1 + i % 4])::timetz,
    TIMESTAMP '2026-03-28 22:00' + i * INTERVAL '1 hour', TIMESTAMPTZ '2026-03-28 22:00+00' + i * INTERVAL '1 hour',
    (ARRAY['1 mon', '30 days', '720 hours', '1 day', '-1 day', '24:00:00.000001', '0'])[1 + i % 7]::interval,
    ('00000000-0000-4000-8000-' || lpad(to_hex(i * 7919 % 97), 12, '0'))::uuid,
    ('{"a": ' || i % 3 || ', "b": "x"}')::json, ('{"a": ' || i % 3 || ', "b": [1, 2]}')::jsonb, ARRAY[i % 3, i % 2], ARRAY[(ARRAY['a', 'B', NULL])[1 + i % 3], 'c'],
    (ARRAY['happy', 'sad', 'ok', NULL])[1 + i % 4]::mood, ('10.0.' || i % 3 || '.' || i % 7)::inet, ('10.' || i % 4 || '.0.0/16')::cidr,
    ('08:00:2b:01:02:0' || i % 6)::macaddr, (i * 1.25)::numeric::money, (i % 16)::bit(4), ('1' || repeat('01', i % 3))::bit varying,
    int4range(i % 4, i % 4 + i % 3), numrange(i, NULL), point(i, -i), (ARRAY['a', 'B', 'é'])[1 + i % 3]::"char", i % 3 + 100, i % 4
  FROM generate_series(1, 48) i;
INSERT INTO thing (id) VALUES (49), (50);
INSERT INTO thing (id, num, f4, f8, wild, d, ts, tstz, iv, grp, t, i2, i4, i8, dec) VALUES
    (51, 'NaN', 'NaN', 'NaN', 1e308, 'infinity', 'infinity', 'infinity', '178000000 years', 7, 'NaN', 32767, 2147483647, 9223372036854775807, 0.001),
    (52, 'Infinity', 'Infinity', 'Infinity', 1e308, '-infinity', '-infinity', '-infinity', '-178000000 years', 8, 'inf', -32768, -2147483648, -9223372036854775808, -0.001),
    (53, '-Infinity', '-Infinity', '-Infinity', -1e308, '0044-03-15 BC', '0044-03-15 12:00 BC', '0044-03-15 12:00+00 BC', '1 year -12 mons', 9, '-inf', 0, 0, 0, 0),
    (54, repeat('9', 1000)::numeric, '-0', '-0', 5e-324, '5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '0.000001', 10, repeat('x', 300), 1, 1, 1, 1),
    (55, ('0.' || repeat('0', 999) || '1')::numeric, '0', '0', 1e-300, '4713-01-01 BC', '4713-01-01 00:00 BC', '4713-01-01 00:00+00 BC', '-0.000001', 10, repeat('x', 300) || 'y', 1, 1, 1, 1),
    (56, -repeat('9', 1000)::numeric, 'NaN', '-0', 0, NULL, NULL, NULL, NULL, 10, 'x', 2, 2, 2, 2);
INSERT INTO lone VALUES (11, 1, 'only');
INSERT INTO reading SELECT DATE '2025-12-20' + i % 25 * 4, i, 's' || i % 4, CASE WHEN i % 8 = 0 THEN NULL ELSE (i % 32) * 0.125 END, i * 0.037
  FROM generate_series(1, 90) i;
INSERT INTO reading VALUES ('-infinity', 0, 's0', 1, 1), ('infinity', 0, 's1', 2, 2);
INSERT INTO page SELECT 'tenant-' || i * i % 13, i, (ARRAY['Home', 'home', 'Über', 'About'])[1 + i % 4], i % 17 * 10,
    TIMESTAMP '2026-02-01 08:00' + (i * 31 % 60) * INTERVAL '1 day' FROM generate_series(1, 70) i;
INSERT INTO account SELECT 'acc-' || i, i % 9, DATE '2026-01-01' + i, i * 12.3456 FROM generate_series(1, 24) i;
INSERT INTO office SELECT (ARRAY['de', 'at', 'fr', 'it', 'jp'])[1 + i % 5], i, 'city ' || i % 6, CASE WHEN i % 7 = 0 THEN NULL ELSE i END
  FROM generate_series(1, 30) i;
INSERT INTO ledger SELECT 'book' || i % 3, i % 8, i, i * 3.33 - 40, CASE WHEN i % 3 = 0 THEN NULL ELSE 'memo ' || i % 4 END FROM generate_series(1, 48) i;
INSERT INTO parcel SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(i * 104729), 12, '0'))::uuid, i * 10 % 70, TIMESTAMP '2026-02-01' + i % 5 * INTERVAL '1 day',
    CASE WHEN i % 4 = 0 THEN NULL ELSE 'note' END FROM generate_series(1, 25) i;
INSERT INTO odd SELECT i, CASE WHEN i % 5 = 0 THEN NULL ELSE ROW(i % 4, i % 3 * 1.5, 'l' || i % 2)::pos END,
    CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '{}' ELSE ARRAY[ROW(1, 2.5, 'a,b')::pos, NULL, ROW(i, NULL, '"q"')::pos] END,
    CASE WHEN i % 3 = 0 THEN NULL ELSE ROW(ROW(i, 1, NULL)::pos, 'ok'::mood, ARRAY[i, NULL])::step END,
    (ARRAY[ARRAY['ok', 'sad'], ARRAY['happy', NULL]]::mood[])[1 + i % 2 : 1 + i % 2], i % 50 + 0.25, ARRAY[i % 9, 99.99]::percent[], 'w' || i % 6,
    daterange(DATE '2026-01-01' + i % 6, DATE '2026-01-08' + i % 9), tstzrange('2026-01-01 00:00+00', CASE WHEN i % 4 > 0 THEN '2026-01-01 00:00+00'::timestamptz + i * INTERVAL '1 hour' END),
    int8multirange(int8range(i, i + 3), int8range(i + 10, i + 12)), span(i * 0.5, i * 0.5 + 2), to_tsvector('simple', 'fat cat ' || i % 5 || ' sat on mat' || i % 3),
    to_tsquery('simple', 'cat & ' || i % 5), xmlparse(CONTENT '<a n="' || i % 4 || '">t' || i || '</a>'), box(point(i, i), point(0, -i)), circle(point(i, 0), i),
    path '((0,0),(1,1),(2,0))', ('08:00:2b:01:02:03:04:0' || i % 5)::macaddr8, ('0/' || to_hex(4096 + i))::pg_lsn, '$.a[*] ? (@ > 1)', ARRAY[i, i / 8.0, NULL, 'NaN'],
    i * 1234567890123.0123456789, i / 1000.0, TIMESTAMP '2026-02-01 10:00:00.6' + i * INTERVAL '1 day', TIMESTAMPTZ '2026-02-01 10:00:00.123456+02' + i * INTERVAL '1 hour',
    i * INTERVAL '1 month', i * INTERVAL '1 hour 1.239 seconds', ARRAY['ab', 'c' || i % 3], ARRAY['x', NULL, 'y z'], ARRAY['\x00ff'::bytea, NULL],
    ARRAY['{"k": 1}'::jsonb, 'null', to_jsonb(i)], ARRAY[DATE '2026-01-01' + i, 'infinity', '0044-03-15 BC'], ARRAY['00000000-0000-4000-8000-000000000001'::uuid, NULL],
    ARRAY[[i, 1], [2, NULL]], ('[3:4]={' || i || ',7}')::int[], ARRAY[i % 8, 1]::bit(3)[], TIME '10:00:00.129' + i * INTERVAL '1 minute',
    ARRAY[TIMESTAMPTZ '2026-03-29 00:30+00' + i * INTERVAL '1 hour'], ARRAY[i * 0.5, 'NaN', '-Infinity', '-0']::float4[], ARRAY[i % 2 = 0, NULL], i::text::xid8,
    ARRAY['n' || i, 'Pg'], ('10.0.' || i || '.1/24')::inet, ARRAY['a', 'b']::"char"[], ('(' || i || ',1)')::tid, i % 4
  FROM generate_series(1, 40) i;
INSERT INTO odd (id) VALUES (41), (42);
INSERT INTO link SELECT i, i * 7 % 45, (ARRAY['up', 'down', NULL])[1 + i % 3], 'w' || i % 7, daterange(DATE '2026-01-03' + i % 5, DATE '2026-01-06' + i % 5),
    ROW(i % 4, i % 3 * 1.5, 'l' || i % 2)::pos FROM generate_series(1, 45) i;
INSERT INTO touched SELECT i, i * 3, CASE WHEN i % 2 = 0 THEN 'even' END FROM generate_series(1, 20) i;

//! The questions to PostgreSQL's system catalogs. They hold for PostgreSQL 12 and later.
//!
//! Temporary and system schemas are left out, Goldseam's own (directories) too. Object identifiers differ between shards, so that only names
//! leave these queries; an attribute number is turned into a position by whoever reads them.

/// Relations: oid, schema, name, kind, whether triggers or rules may make a write touch others, row-level security,
/// whether foreign keys carry its changes on to other tables, a view's query.
/// Internal triggers are those of foreign keys, which stay within the shard; those of lookups are Goldseam's own.
pub(super) const RELATIONS: &str = "\
SELECT c.oid, n.nspname, c.relname, c.relkind,
       EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
                    AND t.tgname NOT LIKE 'goldseam!_lookup!_%' ESCAPE '!')
       OR (c.relkind IN ('r', 'p', 'f') AND EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)),
       c.relrowsecurity,
       EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.confrelid = c.oid AND f.contype = 'f'
                    AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))),
       CASE WHEN c.relkind = 'v' THEN pg_catalog.pg_get_viewdef(c.oid) END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'goldseam') AND n.nspname !~ '^pg_(temp|toast_temp)_'
ORDER BY c.oid";

/// Triggers of tables: relation's oid, function, its text if a reader of PL/pgSQL can tell all that it does, whether it is PostgreSQL's own, whether it
/// may change the row. A rule is a row without a function.
pub(super) const TRIGGERS: &str = "\
SELECT t.tgrelid, p.proname,
       CASE WHEN l.lanname = 'plpgsql' AND p.proconfig IS NULL AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_trigger'::regclass AND d.objid = t.oid
                  AND d.refclassid = 'pg_catalog.pg_proc'::regclass AND d.refobjid <> t.tgfoid) THEN p.prosrc END,
       p.pronamespace = 'pg_catalog'::regnamespace, t.tgtype & 3 = 3, t.tgtype & 4 = 4
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE NOT t.tgisinternal AND t.tgname NOT LIKE 'goldseam!_lookup!_%' ESCAPE '!'
UNION ALL
SELECT r.ev_class, NULL, NULL, false, false, false FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
WHERE c.relkind IN ('r', 'p', 'f')";

/// Columns: relation's oid, attribute number, name, base type, type as printed, not null, default's kind (`n` none, `e` expression,
/// `m` expression that may tell the time, `s` sequence or identity, `g` generated), whether the collation is nondeterministic, whether it compares
/// bytes, whether it is the type's own, whether it is an identity that is always generated, its own default's expression, schema and name of the
/// sequence that fills it alone, whether its type is a domain, the collation where it is not the type's own.
/// A default counts as a sequence's if it depends on one or names nextval: `nextval('s'::text)` leaves no dependency.
pub(super) const COLUMNS: &str = "\
WITH RECURSIVE base (oid, basetype, typnotnull, ofdomain) AS (
    SELECT oid, oid, false, NULL::text COLLATE \"C\" FROM pg_catalog.pg_type WHERE typtype <> 'd'
    UNION ALL
    SELECT t.oid, b.basetype, t.typnotnull OR b.typnotnull, COALESCE(t.typdefault, b.ofdomain)
    FROM pg_catalog.pg_type t JOIN base b ON b.oid = t.typbasetype WHERE t.typtype = 'd'
)
SELECT a.attrelid, a.attnum, a.attname, b.basetype, pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.attnotnull OR b.typnotnull,
       CASE WHEN a.attgenerated <> '' THEN 'g'
            WHEN a.attidentity <> '' THEN 's'
            WHEN d.oid IS NULL THEN CASE WHEN b.ofdomain ~ '[(]|^CURRENT|^LOCAL' THEN 'm' WHEN b.ofdomain IS NULL THEN 'n' ELSE 'e' END
            WHEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~* 'nextval' OR EXISTS (
                SELECT FROM pg_catalog.pg_depend p JOIN pg_catalog.pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
                WHERE p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
                  AND p.refclassid = 'pg_catalog.pg_class'::regclass) THEN 's'
            WHEN pg_catalog.pg_get_expr(d.adbin, d.adrelid)
                 ~* '\\m(now|today|tomorrow|yesterday|(transaction|statement|clock|current|local)_?(time|timestamp|date)|timeofday|age)\\M'
              OR EXISTS (
                SELECT FROM pg_catalog.pg_depend p JOIN pg_catalog.pg_proc f ON f.oid = p.refobjid
                WHERE p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
                  AND p.refclassid = 'pg_catalog.pg_proc'::regclass
                  AND (f.provolatile = 's' OR f.provolatile = 'v' AND NOT EXISTS (
                      SELECT FROM pg_catalog.pg_depend e
                      WHERE e.classid = 'pg_catalog.pg_proc'::regclass AND e.objid = f.oid AND e.deptype = 'e'))) THEN 'm'
            ELSE 'e' END,
       COALESCE(NOT l.collisdeterministic, false),
       COALESCE(CASE WHEN l.collprovider = 'd' THEN (SELECT d.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8')
                       AND COALESCE(pg_catalog.to_jsonb(d)->>'datlocprovider', 'c') = 'c'
                     FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                     ELSE l.collprovider = 'c' AND l.collcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') END, l.oid IS NULL),
       a.attcollation = t.typcollation,
       a.attidentity = 'a', CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
       q.nspname, q.relname, b.basetype <> a.atttypid,
       (SELECT pg_catalog.quote_ident(m.nspname) || '.' || pg_catalog.quote_ident(l.collname)
        FROM pg_catalog.pg_namespace m WHERE m.oid = l.collnamespace AND a.attcollation <> t.typcollation)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN base b ON b.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = b.basetype
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
LEFT JOIN LATERAL (
    SELECT e.nspname, s.relname FROM pg_catalog.pg_depend p
    JOIN pg_catalog.pg_class s ON s.relkind = 'S'
      AND s.oid = CASE WHEN a.attidentity <> '' THEN p.objid ELSE p.refobjid END
    JOIN pg_catalog.pg_namespace e ON e.oid = s.relnamespace
    WHERE CASE WHEN a.attidentity <> ''
               THEN p.classid = 'pg_catalog.pg_class'::regclass AND p.refclassid = 'pg_catalog.pg_class'::regclass
                    AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype = 'i'
               ELSE p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
                    AND p.refclassid = 'pg_catalog.pg_class'::regclass
                    AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ '^nextval[(]''[^'']*''::regclass[)]$' END
    LIMIT 1
) q ON a.attidentity <> '' OR d.oid IS NOT NULL
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'goldseam') AND n.nspname !~ '^pg_(temp|toast_temp)_'
ORDER BY a.attrelid, a.attnum";

/// Unique and exclusion indexes, those of constraints among them: relation's oid, number of key columns, attribute numbers (0 for an expression;
/// columns that are only INCLUDEd come last and are no key), whether it is the primary key's. The primary key comes first.
pub(super) const UNIQUE_KEYS: &str = "\
SELECT i.indrelid, i.indnkeyatts, i.indkey::text, i.indisprimary
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE (i.indisunique OR i.indisexclusion) AND c.relkind IN ('r', 'p', 'm')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'goldseam') AND n.nspname !~ '^pg_(temp|toast_temp)_'
ORDER BY i.indrelid, NOT i.indisprimary, i.indexrelid";

/// Functions, procedures and aggregates of users: name, whether every overload is immutable, whether every overload is immutable or of a language and
/// with a text that can only compute: no word that begins or is a part of a query or command over tables, no dynamic SQL, and calls of
/// PostgreSQL's own functions only.
pub(super) const FUNCTIONS: &str = "\
SELECT p.proname, pg_catalog.bool_and(p.provolatile = 'i'),
       pg_catalog.bool_and(p.provolatile = 'i' OR p.prokind = 'f' AND l.lanname IN ('sql', 'plpgsql') AND p.prosrc <> ''
           AND p.prosrc !~* '\\m(from|join|into|table|insert|update|delete|merge|truncate|copy|execute|perform|call|fetch|open|cursor|query|nextval|setval|currval|lastval|regclass|lock|set|reset|create|alter|drop|notify|listen|do|values|with)\\M'
           AND p.prosrc !~ '[&\"]'
           AND NOT EXISTS (SELECT FROM pg_catalog.regexp_matches(p.prosrc, '([a-zA-Z_][a-zA-Z_0-9$.]*)\\s*[(]', 'g') c (call)
                           WHERE pg_catalog.lower(c.call[1]) NOT IN ('if', 'and', 'or', 'not', 'in', 'when', 'then', 'else', 'elsif', 'return', 'select', 'case',
                                     'coalesce', 'greatest', 'least', 'nullif', 'row', 'array', 'any', 'all', 'some', 'cast', 'extract', 'position',
                                     'substring', 'overlay', 'trim', 'varchar', 'numeric', 'decimal', 'char', 'while', 'loop', 'between', 'is')
                             AND (NOT EXISTS (SELECT FROM pg_catalog.pg_proc f WHERE f.proname = pg_catalog.lower(c.call[1])
                                              AND f.pronamespace = 'pg_catalog'::regnamespace)
                                  OR EXISTS (SELECT FROM pg_catalog.pg_proc f WHERE f.proname = pg_catalog.lower(c.call[1])
                                             AND (f.provolatile = 'v' OR f.pronamespace <> 'pg_catalog'::regnamespace))
                                  OR pg_catalog.lower(c.call[1]) ~ '_(to|and)_xml|^(pg|dblink|ts_stat|lo|has|to_reg)')))
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(temp|toast_temp)_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
GROUP BY p.proname";

/// Aggregates and window functions of users and of extensions.
pub(super) const AGGREGATES: &str = "\
SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prokind IN ('a', 'w')";

/// Functions that return sets, PostgreSQL's own too.
pub(super) const SET_FUNCTIONS: &str = "SELECT DISTINCT proname FROM pg_catalog.pg_proc WHERE proretset";

/// The relations of `pg_catalog`.
pub(super) const SYSTEM_RELATIONS: &str = "\
SELECT relname FROM pg_catalog.pg_class
WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f')";

/// Facts of the server: number of its version, `max_prepared_transactions`, whether it is a standby, whether the database's default collation
/// compares bytes (`datlocprovider` is there from PostgreSQL 15 on).
pub(super) const SERVER: &str = "\
SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('max_prepared_transactions'),
       pg_catalog.pg_is_in_recovery(),
       (SELECT d.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') AND COALESCE(pg_catalog.to_jsonb(d)->>'datlocprovider', 'c') = 'c'
        FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())";

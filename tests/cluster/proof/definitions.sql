WITH near AS (
    SELECT c.oid, c.relname, c.relkind, n.nspname, c.relacl, c.relowner, c.relrowsecurity, c.relpersistence, c.reloptions
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (c.relname LIKE '{prefix}%' OR n.nspname LIKE '{prefix}%') AND n.nspname NOT LIKE 'pg\_%'
)
SELECT format('relation %s.%s %s %s %s %s %s', nspname, relname, relkind, relpersistence, relrowsecurity, relacl, reloptions) AS line
    FROM near WHERE relkind IN ('r', 'v', 'm', 'p', 'f', 'c')
UNION ALL
SELECT format('column %s.%s %s %s %s %s %s %s', r.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
        a.attgenerated, CASE WHEN pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval%' THEN 'next' ELSE pg_get_expr(d.adbin, d.adrelid) END,
        col_description(r.oid, a.attnum))
    FROM near r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum WHERE r.relkind IN ('r', 'v', 'm', 'p', 'c')
UNION ALL
SELECT format('constraint %s %s %s %s', r.relname, c.conname, pg_get_constraintdef(c.oid), c.convalidated)
    FROM near r JOIN pg_constraint c ON c.conrelid = r.oid
UNION ALL
SELECT format('index %s %s', pg_get_indexdef(i.indexrelid), i.indisvalid) FROM near r JOIN pg_index i ON i.indrelid = r.oid
UNION ALL
SELECT format('view %s %s', r.relname, pg_get_viewdef(r.oid)) FROM near r WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT format('trigger %s', pg_get_triggerdef(t.oid)) FROM near r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT format('policy %s %s %s', r.relname, p.polname, pg_get_expr(p.polqual, p.polrelid)) FROM near r JOIN pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT format('comment %s %s', r.relname, obj_description(r.oid, 'pg_class')) FROM near r
    WHERE obj_description(r.oid, 'pg_class') IS NOT NULL AND obj_description(r.oid, 'pg_class') NOT LIKE '%goldseam:%'
UNION ALL
SELECT format('function %s %s', CASE WHEN p.prokind = 'a' THEN p.proname ELSE pg_get_functiondef(p.oid) END, p.proacl)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.proname LIKE '{prefix}%' OR n.nspname LIKE '{prefix}%'
UNION ALL
SELECT format('type %s %s %s %s %s', t.typname, t.typtype, (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
        CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
        (SELECT array_agg(pg_get_constraintdef(c.oid) ORDER BY c.conname) FROM pg_constraint c WHERE c.contypid = t.oid))
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE (t.typname LIKE '{prefix}%' OR n.nspname LIKE '{prefix}%') AND t.typcategory <> 'A' AND n.nspname NOT LIKE 'pg\_%'
        AND NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind IN ('S', 'i'))
UNION ALL
SELECT format('schema %s %s', nspname, nspacl) FROM pg_namespace WHERE nspname LIKE '{prefix}%'

DO $$
DECLARE thing record;
BEGIN
    FOR thing IN SELECT nspname AS name FROM pg_namespace WHERE nspname LIKE '{prefix}%' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', thing.name);
    END LOOP;
    FOR thing IN SELECT relname AS name, CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind
        FROM pg_class WHERE relname LIKE '{prefix}%' AND relkind IN ('r', 'v', 'm', 'p', 'S') AND relnamespace = 'public'::regnamespace
        ORDER BY relkind = 'S' LOOP
        EXECUTE format('DROP %s IF EXISTS public.%I CASCADE', thing.kind, thing.name);
    END LOOP;
    FOR thing IN SELECT p.oid::regprocedure::text AS name FROM pg_proc p WHERE p.proname LIKE '{prefix}%' AND p.prokind <> 'a' LOOP
        EXECUTE format('DROP ROUTINE %s CASCADE', thing.name);
    END LOOP;
    FOR thing IN SELECT typname AS name FROM pg_type WHERE typname LIKE '{prefix}%' AND typtype IN ('e', 'd', 'c', 'r') AND typnamespace = 'public'::regnamespace LOOP
        EXECUTE format('DROP TYPE IF EXISTS public.%I CASCADE', thing.name);
    END LOOP;
END $$

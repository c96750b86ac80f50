CREATE SCHEMA backup;
CREATE TABLE backup.what AS
    SELECT t.name, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
    FROM unnest(ARRAY[{tables}]) t (name)
    JOIN pg_attribute a ON a.attrelid = to_regclass('public.' || t.name) AND a.attnum > 0 AND a.attgenerated = ''
    GROUP BY t.name;
CREATE PROCEDURE backup.restore() LANGUAGE plpgsql AS $$
DECLARE what record;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR what IN SELECT * FROM backup.what LOOP
        EXECUTE format('DELETE FROM public.%I', what.name);
        EXECUTE format('INSERT INTO public.%I (%s) SELECT %s FROM backup.%I', what.name, what.columns, what.columns, what.name);
    END LOOP;
END $$;
DO $$
DECLARE what record;
BEGIN
    FOR what IN SELECT * FROM backup.what LOOP
        EXECUTE format('CREATE TABLE backup.%I AS TABLE public.%I', what.name, what.name);
    END LOOP;
END $$;
ANALYZE

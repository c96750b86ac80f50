//! PostgreSQL's type identifiers that Goldseam knows by name (`src/include/catalog/pg_type.dat`).

/// A PostgreSQL type's object identifier; 0 means "not said".
pub type Oid = u32;

/// Not said: PostgreSQL infers the type.
pub const UNSPECIFIED: Oid = 0;
/// `bool`.
pub const BOOL: Oid = 16;
/// `bytea`.
pub const BYTEA: Oid = 17;
/// `name`.
pub const NAME: Oid = 19;
/// `int8`.
pub const INT8: Oid = 20;
/// `int2`.
pub const INT2: Oid = 21;
/// `int4`.
pub const INT4: Oid = 23;
/// `text`.
pub const TEXT: Oid = 25;
/// `oid`.
pub const OID: Oid = 26;
/// `float4`.
pub const FLOAT4: Oid = 700;
/// `float8`.
pub const FLOAT8: Oid = 701;
/// `unknown`: an untyped literal.
pub const UNKNOWN: Oid = 705;
/// `int2[]`.
pub const INT2_ARRAY: Oid = 1005;
/// `int4[]`.
pub const INT4_ARRAY: Oid = 1007;
/// `text[]`.
pub const TEXT_ARRAY: Oid = 1009;
/// `bpchar[]`.
pub const BPCHAR_ARRAY: Oid = 1014;
/// `varchar[]`.
pub const VARCHAR_ARRAY: Oid = 1015;
/// `int8[]`.
pub const INT8_ARRAY: Oid = 1016;
/// `char(n)`.
pub const BPCHAR: Oid = 1042;
/// `varchar(n)`.
pub const VARCHAR: Oid = 1043;
/// `date`.
pub const DATE: Oid = 1082;
/// `timestamp`.
pub const TIMESTAMP: Oid = 1114;
/// `timestamp[]`.
pub const TIMESTAMP_ARRAY: Oid = 1115;
/// `date[]`.
pub const DATE_ARRAY: Oid = 1182;
/// `timestamptz`.
pub const TIMESTAMPTZ: Oid = 1184;
/// `timestamptz[]`.
pub const TIMESTAMPTZ_ARRAY: Oid = 1185;
/// `numeric[]`.
pub const NUMERIC_ARRAY: Oid = 1231;
/// `numeric`.
pub const NUMERIC: Oid = 1700;
/// `uuid`.
pub const UUID: Oid = 2950;
/// `uuid[]`.
pub const UUID_ARRAY: Oid = 2951;
/// `bytea[]`.
pub const BYTEA_ARRAY: Oid = 1001;
/// `float4[]`.
pub const FLOAT4_ARRAY: Oid = 1021;
/// `float8[]`.
pub const FLOAT8_ARRAY: Oid = 1022;

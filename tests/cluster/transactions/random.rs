//! Made-up transactions.

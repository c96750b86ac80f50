//! Routes, values and where they lead.

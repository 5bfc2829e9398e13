//! The only readers of Python values.
//!
//! `source` cuts the input into slices, `rows` takes dicts apart, `value` turns one Python object
//! into a cell of its column's kind.

pub mod rows;
pub mod source;
pub mod value;

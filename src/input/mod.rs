//! The only readers of Python values.
//!
//! `source` cuts the input into slices. `rows` takes dicts apart, and `value` turns one Python object
//! into a cell of its column's kind.
//!
//! `arrow` reads batches of columns (`numpy` makes one of arrays), and `columns` makes slices of them: `pairs` says how an Arrow
//! type becomes a kind, `convert` does it natively, and `objects` where Python code has to see values.
//! `returned` reads what a driver gave back, where that is to be Arrow's.

pub mod arrow;
pub mod columns;
pub mod convert;
pub mod numpy;
pub mod objects;
pub mod pairs;
pub mod returned;
pub mod rows;
pub mod source;
pub mod value;

//! The values of one column: a closed set of storages over Arrow's buffers.

use arrow_array::OffsetSizeTrait;
use arrow_buffer::{BooleanBuffer, NullBuffer, NullBufferBuilder, ScalarBuffer};
use pyo3::prelude::*;

use crate::kind::Kind;

/// Strings or byte strings, one after the other: value `i` is `data[offsets[i]..offsets[i + 1]]`.
///
/// Offsets are 64-bit, so that a single value of gigabytes meets the database's limit and not ours.
#[derive(Debug)]
pub struct Strings {
    offsets: Vec<i64>,
    data: Vec<u8>,
}

impl Default for Strings {
    fn default() -> Self {
        Self { offsets: vec![0], data: Vec::new() }
    }
}

impl Strings {
    /// Those of an Arrow array in its common layout.
    pub fn of_arrow<O: OffsetSizeTrait>(offsets: &[O], data: &[u8]) -> Self {
        let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
        let offsets = offsets.iter().map(|offset| (offset.as_usize() - first) as i64).collect();
        Self { offsets, data: data[first..last].to_vec() }
    }

    /// Offsets and bytes.
    pub fn into_parts(self) -> (Vec<i64>, Vec<u8>) {
        (self.offsets, self.data)
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn get(&self, position: usize) -> &[u8] {
        &self.data[self.offsets[position] as usize..self.offsets[position + 1] as usize]
    }

    pub fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.offsets.push(self.data.len() as i64);
    }
}

/// Bytes that were written from a `&str`.
fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// One value that says its own shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Instant(i64),
    Uuid(u128),
    Decimal(&'a str),
    Json(&'a str),
}

impl Cell<'_> {
    /// The kind whose values have this shape.
    pub fn kind(self) -> Kind {
        match self {
            Self::Null => Kind::Dynamic,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::Float(_) => Kind::Float,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
            Self::Date(_) => Kind::Date,
            Self::Time(_) => Kind::Time,
            Self::Timestamp(_) => Kind::Timestamp,
            Self::Instant(_) => Kind::Instant,
            Self::Uuid(_) => Kind::Uuid,
            Self::Decimal(_) => Kind::Decimal,
            Self::Json(_) => Kind::Json,
        }
    }
}

/// A cell without its bytes, which stand in [`Tagged::data`].
#[derive(Clone, Copy, Debug)]
enum Tag {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(usize, usize),
    Bytes(usize, usize),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Instant(i64),
    Uuid(u128),
    Decimal(usize, usize),
    Json(usize, usize),
}

/// Cells of mixed shapes.
#[derive(Debug, Default)]
pub struct Tagged {
    tags: Vec<Tag>,
    data: Vec<u8>,
}

impl Tagged {
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    pub fn get(&self, position: usize) -> Cell<'_> {
        match self.tags[position] {
            Tag::Null => Cell::Null,
            Tag::Bool(value) => Cell::Bool(value),
            Tag::Int(value) => Cell::Int(value),
            Tag::Float(value) => Cell::Float(value),
            Tag::Text(start, end) => Cell::Text(utf8(&self.data[start..end])),
            Tag::Decimal(start, end) => Cell::Decimal(utf8(&self.data[start..end])),
            Tag::Json(start, end) => Cell::Json(utf8(&self.data[start..end])),
            Tag::Bytes(start, end) => Cell::Bytes(&self.data[start..end]),
            Tag::Date(value) => Cell::Date(value),
            Tag::Time(value) => Cell::Time(value),
            Tag::Timestamp(value) => Cell::Timestamp(value),
            Tag::Instant(value) => Cell::Instant(value),
            Tag::Uuid(value) => Cell::Uuid(value),
        }
    }

    pub fn push(&mut self, cell: Cell<'_>) {
        let tag = match cell {
            Cell::Null => Tag::Null,
            Cell::Bool(value) => Tag::Bool(value),
            Cell::Int(value) => Tag::Int(value),
            Cell::Float(value) => Tag::Float(value),
            Cell::Text(value) => {
                let (start, end) = self.append(value.as_bytes());
                Tag::Text(start, end)
            }
            Cell::Decimal(value) => {
                let (start, end) = self.append(value.as_bytes());
                Tag::Decimal(start, end)
            }
            Cell::Json(value) => {
                let (start, end) = self.append(value.as_bytes());
                Tag::Json(start, end)
            }
            Cell::Bytes(value) => {
                let (start, end) = self.append(value);
                Tag::Bytes(start, end)
            }
            Cell::Date(value) => Tag::Date(value),
            Cell::Time(value) => Tag::Time(value),
            Cell::Timestamp(value) => Tag::Timestamp(value),
            Cell::Instant(value) => Tag::Instant(value),
            Cell::Uuid(value) => Tag::Uuid(value),
        };
        self.tags.push(tag);
    }

    fn append(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.data.len();
        self.data.extend_from_slice(bytes);
        (start, self.data.len())
    }
}

/// All values of a column in a slice; what stands under a NULL is anything.
#[derive(Debug)]
pub enum Values {
    Bool(BooleanBuffer),
    Int(ScalarBuffer<i64>),
    Float(ScalarBuffer<f64>),
    Text(Strings),
    Bytes(Strings),
    Date(ScalarBuffer<i32>),
    Time(ScalarBuffer<i64>),
    Timestamp(ScalarBuffer<i64>),
    Instant(ScalarBuffer<i64>),
    Uuid(Vec<u128>),
    Decimal(Strings),
    Json(Strings),
    Dynamic(Tagged),
    Object(Vec<Option<Py<PyAny>>>),
}

impl Values {
    /// The value at that position; `Null` for a Python object.
    pub fn get(&self, position: usize) -> Cell<'_> {
        match self {
            Self::Bool(values) => Cell::Bool(values.value(position)),
            Self::Int(values) => Cell::Int(values[position]),
            Self::Float(values) => Cell::Float(values[position]),
            Self::Text(values) => Cell::Text(utf8(values.get(position))),
            Self::Decimal(values) => Cell::Decimal(utf8(values.get(position))),
            Self::Json(values) => Cell::Json(utf8(values.get(position))),
            Self::Bytes(values) => Cell::Bytes(values.get(position)),
            Self::Date(values) => Cell::Date(values[position]),
            Self::Time(values) => Cell::Time(values[position]),
            Self::Timestamp(values) => Cell::Timestamp(values[position]),
            Self::Instant(values) => Cell::Instant(values[position]),
            Self::Uuid(values) => Cell::Uuid(values[position]),
            Self::Dynamic(values) => values.get(position),
            Self::Object(_) => Cell::Null,
        }
    }
}

/// A column of a slice.
#[derive(Debug)]
pub struct Series {
    pub values: Values,
    /// False where the value is NULL; `None` when no value is.
    pub validity: Option<NullBuffer>,
    /// False where the row says nothing; `None` when every row gives a value.
    pub given: Option<NullBuffer>,
}

impl Series {
    pub fn is_null(&self, position: usize) -> bool {
        self.validity.as_ref().is_some_and(|validity| validity.is_null(position))
    }

    pub fn get(&self, position: usize) -> Cell<'_> {
        if self.is_null(position) { Cell::Null } else { self.values.get(position) }
    }

    pub fn is_given(&self, position: usize) -> bool {
        self.given.as_ref().is_none_or(|given| given.is_valid(position))
    }
}

impl Series {
    /// A series of these values, by their positions here; None is left out.
    pub fn spread(&self, py: Python<'_>, kind: Kind, positions: &[Option<usize>]) -> Self {
        let mut builder = SeriesBuilder::new(kind, positions.len());
        for position in positions {
            match position {
                Some(position) if self.is_given(*position) => match &self.values {
                    Values::Object(values) => {
                        builder.push_object(values[*position].as_ref().map(|v| v.clone_ref(py)));
                    }
                    _ => builder.push(self.get(*position)),
                },
                _ => builder.push_absent(),
            }
        }
        builder.finish()
    }
}

/// Growing storage of one shape.
#[derive(Debug)]
pub enum Storage {
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text(Strings),
    Bytes(Strings),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    Instant(Vec<i64>),
    Uuid(Vec<u128>),
    Decimal(Strings),
    Json(Strings),
    Dynamic(Tagged),
    Object(Vec<Option<Py<PyAny>>>),
}

impl Storage {
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool(Vec::new()),
            Kind::Int => Self::Int(Vec::new()),
            Kind::Float => Self::Float(Vec::new()),
            Kind::Text => Self::Text(Strings::default()),
            Kind::Bytes => Self::Bytes(Strings::default()),
            Kind::Date => Self::Date(Vec::new()),
            Kind::Time => Self::Time(Vec::new()),
            Kind::Timestamp => Self::Timestamp(Vec::new()),
            Kind::Instant => Self::Instant(Vec::new()),
            Kind::Uuid => Self::Uuid(Vec::new()),
            Kind::Decimal => Self::Decimal(Strings::default()),
            Kind::Json => Self::Json(Strings::default()),
            Kind::Dynamic => Self::Dynamic(Tagged::default()),
            Kind::Object => Self::Object(Vec::new()),
        }
    }

    fn finish(self) -> Values {
        match self {
            Self::Bool(values) => Values::Bool(BooleanBuffer::from(values)),
            Self::Int(values) => Values::Int(values.into()),
            Self::Float(values) => Values::Float(values.into()),
            Self::Text(values) => Values::Text(values),
            Self::Bytes(values) => Values::Bytes(values),
            Self::Date(values) => Values::Date(values.into()),
            Self::Time(values) => Values::Time(values.into()),
            Self::Timestamp(values) => Values::Timestamp(values.into()),
            Self::Instant(values) => Values::Instant(values.into()),
            Self::Uuid(values) => Values::Uuid(values),
            Self::Decimal(values) => Values::Decimal(values),
            Self::Json(values) => Values::Json(values),
            Self::Dynamic(values) => Values::Dynamic(values),
            Self::Object(values) => Values::Object(values),
        }
    }

    /// Something under a NULL, so that positions stay aligned.
    pub fn push_blank(&mut self) {
        match self {
            Self::Bool(values) => values.push(false),
            Self::Int(values)
            | Self::Time(values)
            | Self::Timestamp(values)
            | Self::Instant(values) => values.push(0),
            Self::Float(values) => values.push(0.0),
            Self::Text(values)
            | Self::Bytes(values)
            | Self::Decimal(values)
            | Self::Json(values) => values.push(b""),
            Self::Date(values) => values.push(0),
            Self::Uuid(values) => values.push(0),
            Self::Dynamic(values) => values.push(Cell::Null),
            Self::Object(values) => values.push(None),
        }
    }

    /// Takes the cell if it is of this shape.
    fn push(&mut self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Bool(values), Cell::Bool(value)) => values.push(value),
            // SQL's drivers give and take booleans as 0 and 1.
            (Self::Bool(values), Cell::Int(value @ (0 | 1))) => values.push(value == 1),
            (Self::Int(values), Cell::Bool(value)) => values.push(i64::from(value)),
            (Self::Float(values), Cell::Float(value)) => values.push(value),
            (Self::Text(values), Cell::Text(value))
            | (Self::Decimal(values), Cell::Decimal(value))
            | (Self::Json(values), Cell::Json(value) | Cell::Text(value)) => {
                values.push(value.as_bytes());
            }
            (Self::Bytes(values), Cell::Bytes(value)) => values.push(value),
            (Self::Date(values), Cell::Date(value)) => values.push(value),
            (Self::Int(values), Cell::Int(value))
            | (Self::Time(values), Cell::Time(value))
            | (Self::Timestamp(values), Cell::Timestamp(value))
            | (Self::Instant(values), Cell::Instant(value)) => values.push(value),
            (Self::Uuid(values), Cell::Uuid(value)) => values.push(value),
            (Self::Dynamic(values), cell) => values.push(cell),
            _ => return false,
        }
        true
    }

    fn nbytes(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Int(values)
            | Self::Time(values)
            | Self::Timestamp(values)
            | Self::Instant(values) => values.len() * 8,
            Self::Float(values) => values.len() * 8,
            Self::Text(values)
            | Self::Bytes(values)
            | Self::Decimal(values)
            | Self::Json(values) => values.data.len() + values.offsets.len() * 8,
            Self::Date(values) => values.len() * 4,
            Self::Uuid(values) => values.len() * 16,
            Self::Dynamic(values) => values.data.len() + values.tags.len() * size_of::<Tag>(),
            Self::Object(values) => values.len() * size_of::<Py<PyAny>>(),
        }
    }
}

/// Builds a [`Series`] value by value.
#[derive(Debug)]
pub struct SeriesBuilder {
    pub storage: Storage,
    validity: NullBufferBuilder,
    given: NullBufferBuilder,
    /// Some NULL was given and not just left out: the two masks differ.
    explicit_null: bool,
    /// The first value decides the shape of the storage.
    adopts: bool,
}

impl SeriesBuilder {
    pub fn new(kind: Kind, capacity: usize) -> Self {
        Self {
            storage: Storage::new(kind),
            validity: NullBufferBuilder::new(capacity),
            given: NullBufferBuilder::new(capacity),
            explicit_null: false,
            adopts: kind == Kind::Dynamic,
        }
    }

    pub fn len(&self) -> usize {
        self.validity.len()
    }

    pub fn nbytes(&self) -> usize {
        self.storage.nbytes()
    }

    /// The row says nothing about this column.
    pub fn push_absent(&mut self) {
        self.storage.push_blank();
        self.validity.append_null();
        self.given.append_null();
    }

    /// The row says NULL.
    pub fn push_null(&mut self) {
        self.storage.push_blank();
        self.validity.append_null();
        self.given.append_non_null();
        self.explicit_null = true;
    }

    /// So many values went into `storage` from outside.
    pub fn mark_valid(&mut self, values: usize) {
        self.validity.append_n_non_nulls(values);
        self.given.append_n_non_nulls(values);
    }

    pub fn push(&mut self, cell: Cell<'_>) {
        if cell == Cell::Null {
            return self.push_null();
        }
        if std::mem::take(&mut self.adopts) {
            self.adopt(cell.kind());
        }
        if !self.storage.push(cell) {
            self.promote();
            self.storage.push(cell);
        }
        self.mark_valid(1);
    }

    /// Integers, of which none is NULL.
    pub fn push_ints(&mut self, ints: impl Iterator<Item = i64>) {
        if let Storage::Int(values) = &mut self.storage {
            let before = values.len();
            values.extend(ints);
            let count = values.len() - before;
            self.mark_valid(count);
        } else {
            ints.for_each(|int| self.push(Cell::Int(int)));
        }
    }

    /// A Python object, in a column of such.
    pub fn push_object(&mut self, object: Option<Py<PyAny>>) {
        if let Storage::Object(values) = &mut self.storage {
            values.push(object);
            self.mark_valid(1);
        }
    }

    /// Takes the shape of the first value; what was pushed until now is blank.
    fn adopt(&mut self, kind: Kind) {
        self.storage = Storage::new(kind);
        (0..self.len()).for_each(|_| self.storage.push_blank());
    }

    /// Changes the storage to one that takes every shape.
    fn promote(&mut self) {
        let storage = std::mem::replace(&mut self.storage, Storage::new(Kind::Dynamic));
        let values = storage.finish();
        let validity = self.validity.finish_cloned();
        for position in 0..self.len() {
            let null = validity.as_ref().is_some_and(|validity| validity.is_null(position));
            self.storage.push(if null { Cell::Null } else { values.get(position) });
        }
    }

    pub fn finish(mut self) -> Series {
        let validity = self.validity.finish();
        let given = if self.explicit_null { self.given.finish() } else { validity.clone() };
        Series { values: self.storage.finish(), validity, given }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_cell_makes_the_column_dynamic_and_keeps_what_was_there() {
        let mut builder = SeriesBuilder::new(Kind::Int, 4);
        builder.push(Cell::Int(1));
        builder.push_absent();
        builder.push(Cell::Text("x"));
        builder.push_null();
        let series = builder.finish();
        let cells: Vec<_> = (0..4).map(|position| series.get(position)).collect();
        assert_eq!(cells, [Cell::Int(1), Cell::Null, Cell::Text("x"), Cell::Null]);
        let given: Vec<_> = (0..4).map(|position| series.is_given(position)).collect();
        assert_eq!(given, [true, false, true, true]);
    }

    #[test]
    fn a_column_without_gaps_has_no_masks() {
        let mut builder = SeriesBuilder::new(Kind::Text, 2);
        builder.push(Cell::Text("a"));
        builder.push(Cell::Text(""));
        let series = builder.finish();
        assert!(series.validity.is_none() && series.given.is_none());
        assert_eq!(series.get(1), Cell::Text(""));
    }
}

//! One Python object into one cell of its column's kind.
//!
//! Every kind has a fast path for the exact Python type that it expects. Anything else goes the
//! long way: SQLAlchemy's bind processor where the type has one, then what the driver accepts.

use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyException, PyOverflowError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDate, PyDateAccess, PyDateTime, PyDelta, PyDeltaAccess,
    PyFloat, PyInt, PyMemoryView, PyString, PyTime, PyTimeAccess, PyType, PyTzInfo, PyTzInfoAccess,
};

use crate::calendar::{MICROS_PER_DAY, days, micros, unending_day, unending_moment};
use crate::error::{BadValue, Error, Result};
use crate::kind::Kind;
use crate::plan::{Absent, Column, Plan};
use crate::values::{Cell, SeriesBuilder, Storage, Strings};

/// What the fast path made of a value.
enum Fast {
    Taken,
    /// Not of the expected Python type: the long way.
    Other,
    Failed(Refusal),
}

/// Why a value can't be sent; the caller knows the row.
#[derive(Debug)]
pub struct Refusal {
    pub reason: String,
    pub cause: Option<PyErr>,
}

impl Refusal {
    fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), cause: None }
    }

    pub fn raised(py: Python<'_>, cause: PyErr) -> Self {
        Self { reason: cause.value(py).to_string(), cause: Some(cause) }
    }

    /// The error of that row; what ends the program (`KeyboardInterrupt`) stays as it is.
    pub fn at(self, py: Python<'_>, row: usize, key: &str, value: Option<Py<PyAny>>) -> Error {
        match self.cause {
            Some(cause) if !cause.is_instance_of::<PyException>(py) => Error::Python(cause),
            cause => {
                let key = key.to_owned();
                Error::Row(Box::new(BadValue { row, key, value, reason: self.reason, cause }))
            }
        }
    }
}

/// Which Python code may run while rows are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// On the caller's thread: processors, defaults, methods of rows and values.
    Any,
    /// Beside the caller's thread: only that of Python's own types.
    BuiltIn,
}

/// What stops a column.
pub enum Stop {
    /// The value at that position can't be sent.
    At(usize, Refusal),
    /// A value needs code that may not run here.
    Foreign,
}

/// Pushes the values of a column, and its default where they leave it out.
pub fn push_column<'py>(
    py: Python<'py>,
    plan: &Plan,
    column: &Column,
    values: &[Option<Bound<'py, PyAny>>],
    builder: &mut SeriesBuilder,
    code: Code,
) -> Result<(), Stop> {
    let fills = matches!(column.absent, Absent::Value(_))
        && values.iter().any(|value| column.wants_default(value.as_ref()));
    if fills {
        let filled: Vec<_> = values.iter().map(|value| sent(py, column, value.as_ref())).collect();
        return push_all(plan, column, &filled, builder, code);
    }
    push_all(plan, column, values, builder, code)
}

/// What of a column is sent for that value of a row: itself, or a default that is one.
pub fn sent<'py>(
    py: Python<'py>,
    column: &Column,
    value: Option<&Bound<'py, PyAny>>,
) -> Option<Bound<'py, PyAny>> {
    match &column.absent {
        Absent::Value(default) if column.wants_default(value) => Some(default.bind(py).clone()),
        _ => value.cloned(),
    }
}

/// Pushes `values[..]` onto the column; stops at the first that can't be sent.
fn push_all(
    plan: &Plan,
    column: &Column,
    values: &[Option<Bound<'_, PyAny>>],
    builder: &mut SeriesBuilder,
    code: Code,
) -> Result<(), Stop> {
    let mut position = 0;
    while position < values.len() {
        let run = &values[position..];
        let (taken, refused) = push_run(plan, column, run, builder);
        position += taken;
        if let Some(refusal) = refused {
            return Err(Stop::At(position, refusal));
        }
        if let Some(Some(value)) = values.get(position) {
            if code == Code::BuiltIn && !is_built_in(plan, column, value) {
                return Err(Stop::Foreign);
            }
            push_slowly(plan, column, value, builder)
                .map_err(|refusal| Stop::At(position, refusal))?;
            position += 1;
        }
    }
    Ok(())
}

/// Pushes as long as the fast path takes the values. The kind is decided here, once per run.
fn push_run(
    plan: &Plan,
    column: &Column,
    values: &[Option<Bound<'_, PyAny>>],
    builder: &mut SeriesBuilder,
) -> (usize, Option<Refusal>) {
    macro_rules! run {
        ($variant:ident, $push:expr) => {
            fast_run(column, values, builder, |storage, value| match storage {
                Storage::$variant(values) => $push(values, value),
                _ => Fast::Other,
            })
        };
    }
    // The storage of a dynamic column only looks like its processor's last value.
    if column.kind == Kind::Dynamic {
        return fast_run(column, values, builder, |_, _| Fast::Other);
    }
    match builder.storage {
        Storage::Bool(_) => run!(Bool, push_bool),
        Storage::Int(_) => run!(Int, push_int),
        Storage::Float(_) => run!(Float, push_float),
        Storage::Text(_) => run!(Text, push_text),
        Storage::Bytes(_) => run!(Bytes, push_bytes),
        Storage::Date(_) if plan.unending => run!(Date, push_unending_date),
        Storage::Date(_) => run!(Date, push_date),
        Storage::Time(_) => run!(Time, push_time),
        // Only a type's processor drops a zone; without one the driver sends it.
        Storage::Timestamp(_) if plan.unending => run!(Timestamp, push_unending_wall),
        Storage::Timestamp(_) if column.processor.is_none() => run!(Timestamp, push_wall),
        Storage::Timestamp(_) => run!(Timestamp, push_timestamp),
        Storage::Uuid(_) => run!(Uuid, push_uuid),
        Storage::Instant(_) => run!(Instant, push_instant),
        Storage::Decimal(_) => run!(Decimal, push_decimal),
        Storage::Dynamic(_) | Storage::Object(_) | Storage::Json(_) => {
            fast_run(column, values, builder, |_, _| Fast::Other)
        }
    }
}

#[inline]
fn fast_run<'py>(
    column: &Column,
    values: &[Option<Bound<'py, PyAny>>],
    builder: &mut SeriesBuilder,
    push: impl Fn(&mut Storage, &Bound<'py, PyAny>) -> Fast,
) -> (usize, Option<Refusal>) {
    // What a default's callable returns is sent, None included.
    let drop_none = column.drop_none && !matches!(column.absent, Absent::Call(_));
    // Valid values are marked by the run: the masks are built bit by bit otherwise.
    let mut valid = 0;
    let mut stopped = (values.len(), None);
    for (position, value) in values.iter().enumerate() {
        let value = match value {
            Some(value) if !(drop_none && value.is_none()) => value,
            _ => {
                builder.mark_valid(std::mem::take(&mut valid));
                builder.push_absent();
                continue;
            }
        };
        match push(&mut builder.storage, value) {
            Fast::Taken => valid += 1,
            Fast::Other => {
                stopped = (position, None);
                break;
            }
            Fast::Failed(refusal) => {
                stopped = (position, Some(refusal));
                break;
            }
        }
    }
    builder.mark_valid(valid);
    stopped
}

fn push_bool(values: &mut Vec<bool>, value: &Bound<'_, PyAny>) -> Fast {
    let Ok(value) = value.cast_exact::<PyBool>() else {
        return Fast::Other;
    };
    values.push(value.is_true());
    Fast::Taken
}

fn push_int(values: &mut Vec<i64>, value: &Bound<'_, PyAny>) -> Fast {
    if !value.is_exact_instance_of::<PyInt>() {
        return Fast::Other;
    }
    match value.extract::<i64>() {
        Ok(value) => values.push(value),
        Err(_) => return Fast::Other,
    }
    Fast::Taken
}

fn push_float(values: &mut Vec<f64>, value: &Bound<'_, PyAny>) -> Fast {
    let Ok(value) = value.cast_exact::<PyFloat>() else {
        return Fast::Other;
    };
    values.push(value.value());
    Fast::Taken
}

fn push_text(values: &mut Strings, value: &Bound<'_, PyAny>) -> Fast {
    let Ok(text) = value.cast_exact::<PyString>() else {
        return Fast::Other;
    };
    match text.to_str() {
        Ok(text) => values.push(text.as_bytes()),
        Err(error) => return Fast::Failed(Refusal::raised(value.py(), error)),
    }
    Fast::Taken
}

fn push_bytes(values: &mut Strings, value: &Bound<'_, PyAny>) -> Fast {
    let Ok(value) = value.cast_exact::<PyBytes>() else {
        return Fast::Other;
    };
    values.push(value.as_bytes());
    Fast::Taken
}

fn push_date(values: &mut Vec<i32>, value: &Bound<'_, PyAny>) -> Fast {
    let Ok(value) = value.cast_exact::<PyDate>() else {
        return Fast::Other;
    };
    values.push(day_number(value));
    Fast::Taken
}

fn push_unending_date(values: &mut Vec<i32>, value: &Bound<'_, PyAny>) -> Fast {
    let fast = push_date(values, value);
    if let (Fast::Taken, Some(day)) = (&fast, values.last_mut()) {
        *day = unending_day(*day);
    }
    fast
}

fn push_time(values: &mut Vec<i64>, value: &Bound<'_, PyAny>) -> Fast {
    let Ok(value) = value.cast_exact::<PyTime>() else {
        return Fast::Other;
    };
    values.push(micros_of_day(value));
    Fast::Taken
}

fn push_timestamp(values: &mut Vec<i64>, value: &Bound<'_, PyAny>) -> Fast {
    let Ok(value) = value.cast_exact::<PyDateTime>() else {
        return Fast::Other;
    };
    values.push(i64::from(day_number(value)) * MICROS_PER_DAY + micros_of_day(value));
    Fast::Taken
}

/// A datetime without a zone.
fn push_wall(values: &mut Vec<i64>, value: &Bound<'_, PyAny>) -> Fast {
    match value.cast_exact::<PyDateTime>() {
        Ok(moment) if moment.get_tzinfo().is_none() => push_timestamp(values, value),
        _ => Fast::Other,
    }
}

fn push_unending_wall(values: &mut Vec<i64>, value: &Bound<'_, PyAny>) -> Fast {
    let fast = push_wall(values, value);
    if let (Fast::Taken, Some(micros)) = (&fast, values.last_mut()) {
        *micros = unending_moment(*micros);
    }
    fast
}

/// An aware datetime; its offset is asked of its zone unless that is UTC.
fn push_instant(values: &mut Vec<i64>, value: &Bound<'_, PyAny>) -> Fast {
    let Ok(value) = value.cast_exact::<PyDateTime>() else { return Fast::Other };
    let Some(zone) = value.get_tzinfo() else { return Fast::Other };
    let wall = i64::from(day_number(value)) * MICROS_PER_DAY + micros_of_day(value);
    let py = value.py();
    if PyTzInfo::utc(py).is_ok_and(|utc| zone.is(&*utc)) {
        values.push(wall);
        return Fast::Taken;
    }
    let offset = value.call_method0(intern!(py, "utcoffset"));
    match offset.and_then(|offset| Ok(offset.cast_into::<PyDelta>()?)) {
        Ok(offset) => values.push(wall - micros_of_delta(&offset)),
        Err(_) => return Fast::Other,
    }
    Fast::Taken
}

fn micros_of_delta(delta: &Bound<'_, PyDelta>) -> i64 {
    i64::from(delta.get_days()) * MICROS_PER_DAY
        + i64::from(delta.get_seconds()) * 1_000_000
        + i64::from(delta.get_microseconds())
}

fn push_decimal(values: &mut Strings, value: &Bound<'_, PyAny>) -> Fast {
    static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = value.py();
    let Ok(class) = DECIMAL.import(py, "decimal", "Decimal") else { return Fast::Other };
    if !value.get_type().is(class) && !value.is_exact_instance_of::<PyInt>() {
        return Fast::Other;
    }
    let text = value.str();
    match text.as_ref().map_err(|error| error.clone_ref(py)).and_then(|text| text.to_str()) {
        Ok(text) => {
            values.push(text.as_bytes());
            Fast::Taken
        }
        Err(error) => Fast::Failed(Refusal::raised(py, error)),
    }
}

fn day_number(value: &impl PyDateAccess) -> i32 {
    days(value.get_year(), value.get_month(), value.get_day())
}

fn micros_of_day(value: &impl PyTimeAccess) -> i64 {
    micros(value.get_hour(), value.get_minute(), value.get_second(), value.get_microsecond())
}

fn uuid_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    UUID.import(py, "uuid", "UUID")
}

fn push_uuid(values: &mut Vec<u128>, value: &Bound<'_, PyAny>) -> Fast {
    let py = value.py();
    let Ok(class) = uuid_class(py) else { return Fast::Other };
    if !value.get_type().is(class) {
        return Fast::Other;
    }
    match value.getattr(intern!(py, "int")).and_then(|number| number.extract::<u128>()) {
        Ok(number) => values.push(number),
        Err(error) => return Fast::Failed(Refusal::raised(py, error)),
    }
    Fast::Taken
}

fn out_of_range() -> Refusal {
    Refusal {
        reason: "an integer of at most 64 bits is expected".to_owned(),
        cause: Some(PyOverflowError::new_err("Python int too large to convert to SQL INTEGER")),
    }
}

/// Whether the long way of this value runs no code of a user's.
fn is_built_in(plan: &Plan, column: &Column, value: &Bound<'_, PyAny>) -> bool {
    value.is(&plan.null)
        || column.processor.is_none()
            && (value.is_none()
                || value.is_exact_instance_of::<PyBool>()
                || value.is_exact_instance_of::<PyInt>()
                || value.is_exact_instance_of::<PyFloat>()
                || value.is_exact_instance_of::<PyString>()
                || value.is_exact_instance_of::<PyBytes>())
}

/// The long way of a value that the fast path did not take.
fn push_slowly(
    plan: &Plan,
    column: &Column,
    value: &Bound<'_, PyAny>,
    builder: &mut SeriesBuilder,
) -> Result<(), Refusal> {
    let processed = process(plan, column, value)?;
    if matches!(builder.storage, Storage::Object(_)) {
        builder.push_object(Some(processed.unbind()));
        return Ok(());
    }
    push_native(plan, &processed, builder)
}

/// What SQLAlchemy would hand to the driver.
fn process<'py>(
    plan: &Plan,
    column: &Column,
    value: &Bound<'py, PyAny>,
) -> Result<Bound<'py, PyAny>, Refusal> {
    let py = value.py();
    if value.is(&plan.null) {
        return Ok(py.None().into_bound(py));
    }
    if value.is_instance(plan.expressions.bind(py)).unwrap_or(false) {
        return Err(Refusal::because("a plain value is expected, not a SQL expression"));
    }
    match &column.processor {
        Some(processor) => {
            processor.bind(py).call1((value,)).map_err(|error| Refusal::raised(py, error))
        }
        None => Ok(value.clone()),
    }
}

/// Pushes a value that the driver itself would bind.
fn push_native(
    plan: &Plan,
    value: &Bound<'_, PyAny>,
    builder: &mut SeriesBuilder,
) -> Result<(), Refusal> {
    if push_plain(value, builder)? {
        return Ok(());
    }
    if value.is_instance_of::<PyInt>() {
        return push_wide(plan, value, builder);
    }
    let py = value.py();
    // NumPy's integers have the buffer protocol, by which a driver would store them as bytes.
    if let Ok(index) = value.call_method0(intern!(py, "__index__")) {
        return if push_plain(&index, builder)? {
            Ok(())
        } else {
            push_wide(plan, &index, builder)
        };
    }
    if let Some(adapt) = &plan.adapt {
        let adapted = adapt.bind(py).call1((value,)).map_err(|e| Refusal::raised(py, e))?;
        if push_plain(&adapted, builder)? || push_typed(&adapted, builder) {
            return Ok(());
        }
    }
    let kind = type_name(value);
    Err(Refusal::because(format!("a value of type {kind} is not supported here")))
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

/// Pushes an integer of more than 64 bits, if the driver makes a decimal of it.
fn push_wide(
    plan: &Plan,
    value: &Bound<'_, PyAny>,
    builder: &mut SeriesBuilder,
) -> Result<(), Refusal> {
    let adapted = plan.adapt.as_ref().and_then(|adapt| adapt.bind(value.py()).call1((value,)).ok());
    let mut text = Strings::default();
    match adapted {
        Some(adapted) if !adapted.is_instance_of::<PyInt>() => {
            if !matches!(push_decimal(&mut text, &adapted), Fast::Taken) {
                return Err(out_of_range());
            }
        }
        _ => return Err(out_of_range()),
    }
    builder.push(Cell::Decimal(std::str::from_utf8(text.get(0)).unwrap_or_default()));
    Ok(())
}

/// Pushes a value as a driver or a type's result processor gives it.
pub fn push_returned(value: &Bound<'_, PyAny>, builder: &mut SeriesBuilder) -> Result<(), Refusal> {
    if push_plain(value, builder)? || push_typed(value, builder) {
        return Ok(());
    }
    // A driver has a faster class of its own, which is a subclass.
    let uuid = uuid_class(value.py()).is_ok_and(|class| value.is_instance(class).unwrap_or(false));
    if uuid && let Ok(number) = value.getattr(intern!(value.py(), "int")) {
        let number = number.extract().map_err(|error| Refusal::raised(value.py(), error))?;
        builder.push(Cell::Uuid(number));
        return Ok(());
    }
    let kind = type_name(value);
    Err(Refusal::because(format!("a value of type {kind} has no Arrow type here")))
}

/// Pushes dates, times, UUIDs and decimals that stand in a column of another kind.
fn push_typed(value: &Bound<'_, PyAny>, builder: &mut SeriesBuilder) -> bool {
    macro_rules! try_push {
        ($push:ident, $cell:ident) => {
            let mut values = Vec::new();
            if let Fast::Taken = $push(&mut values, value) {
                builder.push(Cell::$cell(values[0]));
                return true;
            }
        };
    }
    try_push!(push_instant, Instant);
    try_push!(push_timestamp, Timestamp);
    try_push!(push_date, Date);
    try_push!(push_time, Time);
    try_push!(push_uuid, Uuid);
    let mut text = Strings::default();
    if let Fast::Taken = push_decimal(&mut text, value) {
        builder.push(Cell::Decimal(std::str::from_utf8(text.get(0)).unwrap_or_default()));
        return true;
    }
    false
}

/// Pushes None, int, float, str, bytes and their like, subclasses included.
fn push_plain(value: &Bound<'_, PyAny>, builder: &mut SeriesBuilder) -> Result<bool, Refusal> {
    let py = value.py();
    if value.is_none() {
        builder.push_null();
    } else if let Ok(value) = value.cast::<PyBool>() {
        builder.push(Cell::Bool(value.is_true()));
    } else if value.is_instance_of::<PyInt>() {
        let Ok(value) = value.extract() else { return Ok(false) };
        builder.push(Cell::Int(value));
    } else if let Ok(value) = value.cast::<PyFloat>() {
        builder.push(Cell::Float(value.value()));
    } else if let Ok(value) = value.cast::<PyString>() {
        builder.push(Cell::Text(value.to_str().map_err(|error| Refusal::raised(py, error))?));
    } else if let Ok(value) = value.cast::<PyBytes>() {
        builder.push(Cell::Bytes(value.as_bytes()));
    } else if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        let bytes = PyBytes::type_object(py)
            .call1((value,))
            .and_then(|bytes| Ok(bytes.cast_into::<PyBytes>()?))
            .map_err(|error| Refusal::raised(py, error))?;
        builder.push(Cell::Bytes(bytes.as_bytes()));
    } else {
        return Ok(false);
    }
    Ok(true)
}

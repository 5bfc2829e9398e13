//! Arrow's values as Python objects, for those whose own code has to see them.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, IntervalMonthDayNanoType, UInt64Type};
use arrow_array::{Array, ArrayRef, UInt64Array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, TimeUnit};
use arrow_select::take::take;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDelta, PyDict, PyList, PyString, PyTzInfo};

use super::convert::{self, Refused, micros};
use crate::calendar::MICROS_PER_DAY;
use crate::kind::Kind;
use crate::output::to_python;

/// The row whose value is no Python object's, and why.
type Bad = (usize, PyErr);

impl From<Refused> for PyErr {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Range => {
                PyOverflowError::new_err("Python int too large to convert to SQL INTEGER")
            }
            Refused::Inexact(_) | Refused::Expected(_) | Refused::Unreadable(_) => {
                PyValueError::new_err(refused.to_string())
            }
        }
    }
}

/// All values of the array, None for NULL.
pub fn objects<'py>(
    py: Python<'py>,
    field: &Field,
    array: &ArrayRef,
) -> Result<Vec<Bound<'py, PyAny>>, Bad> {
    match field.extension_type_name() {
        Some("arrow.json") => {
            let loads = py.import("json").and_then(|json| json.getattr("loads"));
            let loads = loads.map_err(|error| (0, error))?;
            return of_kind(py, Kind::Json, array, |document| loads.call1((document,)));
        }
        Some("arrow.uuid") => return of_kind(py, Kind::Uuid, array, Ok),
        _ => {}
    }
    if let Some(kind) = kind_of(array.data_type()) {
        return of_kind(py, kind, array, Ok);
    }
    match array.data_type() {
        DataType::UInt64 => {
            let values = array.as_primitive::<UInt64Type>();
            each(py, array, |row| values.value(row).into_bound_py_any(py))
        }
        DataType::Timestamp(_, Some(zone)) => moments(py, array, zone),
        DataType::Duration(unit) => {
            let values = cast(array, &DataType::Int64).map_err(unreadable)?;
            let values = values.as_primitive::<Int64Type>();
            each(py, array, |row| delta(py, 0, micros(*unit, values.value(row))?))
        }
        DataType::Interval(_) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            each(py, array, |row| {
                let value = values.value(row);
                if value.months != 0 {
                    return Err(Refused::Expected("an interval without months").into());
                }
                delta(py, value.days, micros(TimeUnit::Nanosecond, value.nanoseconds)?)
            })
        }
        DataType::Dictionary(_, value) => {
            let (positions, distinct) = distinct(array).map_err(|refused| (0, refused.into()))?;
            let values = objects(py, &Field::new("", value.as_ref().clone(), true), &distinct)?;
            let object = |position: Option<usize>| match position {
                Some(position) => values[position].clone(),
                None => py.None().into_bound(py),
            };
            Ok(positions.into_iter().map(object).collect())
        }
        DataType::RunEndEncoded(_, values) => {
            let plain = cast(array, values.data_type()).map_err(unreadable)?;
            objects(py, values, &plain)
        }
        _ => nested(py, array),
    }
}

/// The kind whose values Python has as they are.
fn kind_of(data_type: &DataType) -> Option<Kind> {
    use DataType as Type;
    Some(match data_type {
        Type::Boolean => Kind::Bool,
        Type::UInt64 => return None,
        data_type if data_type.is_integer() => Kind::Int,
        data_type if data_type.is_floating() => Kind::Float,
        data_type if data_type.is_decimal() => Kind::Decimal,
        Type::Utf8 | Type::LargeUtf8 | Type::Utf8View => Kind::Text,
        Type::Binary | Type::LargeBinary | Type::BinaryView | Type::FixedSizeBinary(_) => {
            Kind::Bytes
        }
        Type::Date32 | Type::Date64 => Kind::Date,
        Type::Time32(_) | Type::Time64(_) => Kind::Time,
        Type::Timestamp(_, None) => Kind::Timestamp,
        _ => return None,
    })
}

fn nested<'py>(py: Python<'py>, array: &ArrayRef) -> Result<Vec<Bound<'py, PyAny>>, Bad> {
    match array.data_type() {
        DataType::List(item) => {
            let lists = array.as_list::<i32>();
            each(py, array, |row| list(py, item, &lists.value(row)))
        }
        DataType::LargeList(item) => {
            let lists = array.as_list::<i64>();
            each(py, array, |row| list(py, item, &lists.value(row)))
        }
        DataType::ListView(item) => {
            let lists = array.as_list_view::<i32>();
            each(py, array, |row| list(py, item, &lists.value(row)))
        }
        DataType::LargeListView(item) => {
            let lists = array.as_list_view::<i64>();
            each(py, array, |row| list(py, item, &lists.value(row)))
        }
        DataType::FixedSizeList(item, _) => {
            let lists = array.as_fixed_size_list();
            each(py, array, |row| list(py, item, &lists.value(row)))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let columns = columns
                .map(|(field, column)| objects(py, field, column))
                .collect::<Result<Vec<_>, _>>()?;
            each(py, array, |row| {
                dict(
                    py,
                    fields.iter().zip(&columns).map(|(field, values)| (field.name(), &values[row])),
                )
            })
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            each(py, array, |row| {
                let map = maps.value(row);
                let part = |position: usize| {
                    objects(py, &map.fields()[position], map.column(position))
                        .map_err(|(_, error)| error)
                };
                dict(py, part(0)?.iter().zip(&part(1)?))
            })
        }
        // NULLs alone: the table of pairs lets no other type pass.
        _ => Ok(vec![py.None().into_bound(py); array.len()]),
    }
}

fn dict<'py, K: IntoPyObject<'py>>(
    py: Python<'py>,
    items: impl Iterator<Item = (K, impl IntoPyObject<'py>)>,
) -> PyResult<Bound<'py, PyAny>> {
    let dict = PyDict::new(py);
    for (key, value) in items {
        dict.set_item(key, value)?;
    }
    Ok(dict.into_any())
}

/// Datetimes of a zone.
fn moments<'py>(
    py: Python<'py>,
    array: &ArrayRef,
    zone: &str,
) -> Result<Vec<Bound<'py, PyAny>>, Bad> {
    let utc = PyTzInfo::utc(py).map_err(|error| (0, error))?;
    let zone = zone_of(py, zone).map_err(|error| (0, error))?;
    of_kind(py, Kind::Instant, array, |clock| {
        let moment = with_zone(&clock, &utc)?;
        if zone.is(&*utc) { Ok(moment) } else { moment.call_method1("astimezone", (&zone,)) }
    })
}

fn unreadable(error: arrow_schema::ArrowError) -> Bad {
    (0, PyValueError::new_err(error.to_string()))
}

/// The values of a dictionary that stand in the array, and which of them each row has.
pub fn distinct(array: &ArrayRef) -> Result<(Vec<Option<usize>>, ArrayRef), Refused> {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values();
    if values.is_empty() {
        return Ok((vec![None; array.len()], values.clone()));
    }
    let keys = dictionary.normalized_keys();
    let mut places = vec![None; values.len()];
    let mut used = Vec::new();
    let positions = keys
        .into_iter()
        .enumerate()
        .map(|(row, key)| {
            (!array.is_null(row)).then(|| {
                *places[key].get_or_insert_with(|| {
                    used.push(key as u64);
                    used.len() - 1
                })
            })
        })
        .collect();
    let distinct = take(values, &UInt64Array::from(used), None)
        .map_err(|error| Refused::Unreadable(error.to_string()))?;
    Ok((positions, distinct))
}

fn each<'py>(
    py: Python<'py>,
    array: &ArrayRef,
    object: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
) -> Result<Vec<Bound<'py, PyAny>>, Bad> {
    (0..array.len())
        .map(|row| {
            if array.is_null(row) {
                return Ok(py.None().into_bound(py));
            }
            object(row).map_err(|error| (row, error))
        })
        .collect()
}

/// The values as Python has those of that kind, and what `change` makes of them.
fn of_kind<'py>(
    py: Python<'py>,
    kind: Kind,
    array: &ArrayRef,
    change: impl Fn(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
) -> Result<Vec<Bound<'py, PyAny>>, Bad> {
    let (values, _) = convert::values(kind, array).map_err(|(row, bad)| (row, bad.into()))?;
    each(py, array, |row| change(to_python(py, values.get(row))?))
}

fn list<'py>(py: Python<'py>, item: &Field, values: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    let values = objects(py, item, values).map_err(|(_, error)| error)?;
    Ok(PyList::new(py, values)?.into_any())
}

fn delta(py: Python<'_>, days: i32, micros: i64) -> PyResult<Bound<'_, PyAny>> {
    let more = i32::try_from(micros.div_euclid(MICROS_PER_DAY))?;
    let rest = micros.rem_euclid(MICROS_PER_DAY);
    let days = days.checked_add(more).ok_or(Refused::Expected("fewer days"))?;
    let (seconds, micros) = ((rest / 1_000_000) as i32, (rest % 1_000_000) as i32);
    Ok(PyDelta::new(py, days, seconds, micros, true)?.into_any())
}

fn with_zone<'py>(
    clock: &Bound<'py, PyAny>,
    zone: &Bound<'py, PyTzInfo>,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = PyDict::new(clock.py());
    arguments.set_item("tzinfo", zone)?;
    clock.call_method("replace", (), Some(&arguments))
}

/// A zone of Arrow's: a name, or `+hh:mm`.
fn zone_of<'py>(py: Python<'py>, zone: &str) -> PyResult<Bound<'py, PyAny>> {
    if ["UTC", "utc", "Etc/UTC", "Z", "+00:00"].contains(&zone) {
        return Ok(PyTzInfo::utc(py)?.to_owned().into_any());
    }
    if zone.starts_with(['+', '-']) {
        let datetime = py.import("datetime")?.getattr("datetime")?;
        return datetime.call_method1("strptime", (zone, "%z"))?.getattr("tzinfo");
    }
    py.import("zoneinfo")?.getattr("ZoneInfo")?.call1((PyString::new(py, zone),))
}

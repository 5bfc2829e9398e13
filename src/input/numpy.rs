//! `NumPy`'s arrays, by Python's buffer protocol: native code never touches `NumPy` itself.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, TimeUnit};
use arrow_select::concat::concat;
use arrow_select::nullif::nullif;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3_arrow::buffer::AnyBufferProtocol;
use pyo3_arrow::error::PyArrowResult;
use pyo3_arrow::input::AnyArray;

use super::arrow::Lane;
use super::pairs::OBJECTS;

/// One column of a call: its name and values, where a `NumPy` array has none, and what its integers
/// are (`M8[us]`, `m8[s]`, `?`).
#[derive(FromPyObject)]
pub struct NamedColumn<'py>(String, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, Option<String>);

impl NamedColumn<'_> {
    /// The column as a batch has it, and how many values it has.
    pub fn lane(&self) -> PyArrowResult<(FieldRef, Lane, usize)> {
        let Self(name, values, mask, unit) = self;
        if let Ok(list) = values.cast_exact::<PyList>() {
            let extension = ("ARROW:extension:name".to_owned(), OBJECTS.to_owned());
            let field = Field::new(name, DataType::Null, true);
            let field = field.with_metadata(HashMap::from([extension]));
            let lane = Lane::Objects(Arc::new(list.clone().unbind()), 0);
            return Ok((Arc::new(field), lane, list.len()));
        }
        if values.hasattr("__arrow_c_stream__")? || values.hasattr("__arrow_c_array__")? {
            let (chunks, field) = values.extract::<AnyArray>()?.into_chunked_array()?.into_inner();
            let array = joined(&chunks, field.data_type())?;
            let field = field.as_ref().clone().with_name(name);
            let rows = array.len();
            return Ok((Arc::new(field), Lane::Arrow(array), rows));
        }
        let mut array = array(values)?;
        if let Some(unit) = unit {
            array = cast(&array, &type_of(unit)?)?;
        }
        if let Some(mask) = mask {
            let mask = cast(&self::array(mask)?, &DataType::Boolean)?;
            array = nullif(&array, mask.as_boolean())?;
        }
        let (field, rows) = (Field::new(name, array.data_type().clone(), true), array.len());
        Ok((Arc::new(field), Lane::Arrow(array), rows))
    }
}

fn joined(chunks: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    match chunks {
        [] => Ok(arrow_array::new_empty_array(data_type)),
        [one] => Ok(one.clone()),
        _ => concat(&chunks.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
    }
}

/// The array as it lies in memory.
fn array(values: &Bound<'_, PyAny>) -> PyArrowResult<ArrayRef> {
    let buffer: AnyBufferProtocol =
        values.extract().map_err(|_| PyTypeError::new_err("an array of numbers is expected"))?;
    buffer.into_arrow_array()
}

/// `M8[us]` is a wall clock, `m8[us]` a duration, `?` a boolean.
fn type_of(unit: &str) -> PyResult<DataType> {
    if unit == "?" {
        return Ok(DataType::Boolean);
    }
    let count = match unit.get(2..) {
        Some("[s]") => TimeUnit::Second,
        Some("[ms]") => TimeUnit::Millisecond,
        Some("[us]") => TimeUnit::Microsecond,
        Some("[ns]") => TimeUnit::Nanosecond,
        _ => return Err(PyValueError::new_err(format!("{unit} is no unit of time here"))),
    };
    let timestamp = unit.starts_with('M');
    Ok(if timestamp { DataType::Timestamp(count, None) } else { DataType::Duration(count) })
}

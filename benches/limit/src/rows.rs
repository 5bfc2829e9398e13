//! Ready native rows, read from the benchmark's file before the clock starts.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Result};

/// One value; text lies in `Rows::text`.
#[derive(Clone, Copy)]
pub enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text { start: u32, len: u32 },
}

/// All values, row after row.
pub struct Rows {
    pub columns: Vec<String>,
    pub cells: Vec<Cell>,
    pub text: Vec<u8>,
}

impl Rows {
    /// A line of column names, the number of cells, then each cell as a tag and its bytes.
    pub fn read(path: &str) -> Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let mut header = String::new();
        file.read_line(&mut header)?;
        let columns = header.trim_end().split(',').map(str::to_owned).collect();
        let count = u64::from_le_bytes(take(&mut file)?);
        let mut text = Vec::new();
        let cells = (0..count).map(|_| read_cell(&mut file, &mut text)).collect::<Result<_>>()?;
        Ok(Self { columns, cells, text })
    }
}

fn read_cell(file: &mut impl Read, text: &mut Vec<u8>) -> Result<Cell> {
    let [tag] = take(file)?;
    Ok(match tag {
        b'i' => Cell::Integer(i64::from_le_bytes(take(file)?)),
        b'r' => Cell::Real(f64::from_le_bytes(take(file)?)),
        b't' => {
            let (start, len) = (text.len() as u32, u32::from_le_bytes(take(file)?));
            file.take(len.into()).read_to_end(text)?;
            Cell::Text { start, len }
        }
        _ => Cell::Null,
    })
}

fn take<const N: usize>(file: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

//! Files of lines: NDJSON, CSV, TSV. Read a line or a row at a time.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use camino::Utf8Path;

use super::json::{self, Naming};
use super::{Found, LARGEST, Tolerance, open};

/// Compares two files of a JSON value a line.
pub(super) fn compare_json_lines(before: &Utf8Path, now: &Utf8Path, tolerance: Option<Tolerance>) -> io::Result<Found> {
    let (mut before, mut now) = (open(before)?, open(now)?);
    for number in 1_u64.. {
        let (one, other) = match (next_line(&mut before)?, next_line(&mut now)?) {
            (Some(one), Some(other)) => (one, other),
            (None, None) => break,
            (Some(_), None) => return Ok(Found::At(format!("line {number}, which is not there now"))),
            (None, Some(_)) => return Ok(Found::At(format!("line {number}, which was not there"))),
        };
        if is_too_long(&one) || is_too_long(&other) {
            return Ok(Found::Unreadable);
        }
        if one == other {
            continue;
        }
        let (Some(one), Some(other)) = (json::parse(&one), json::parse(&other)) else {
            return Ok(Found::At(format!("line {number}")));
        };
        match json::first(&one, &other, Naming::Nothing, tolerance) {
            Some(pointer) if pointer.is_empty() => return Ok(Found::At(format!("line {number}"))),
            Some(pointer) => return Ok(Found::At(format!("line {number}, {pointer}"))),
            None => {}
        }
    }
    Ok(Found::Nothing)
}

/// Compares two tables whose cells `delimiter` parts (RFC 4180).
pub(super) fn compare_table(
    before: &Utf8Path,
    now: &Utf8Path,
    delimiter: u8,
    tolerance: Option<Tolerance>,
) -> io::Result<Found> {
    const FIRST: &str = "the first line is row 1";
    let (mut before, mut now) = (open(before)?, open(now)?);
    let mut header = Vec::new();
    for number in 1_u64.. {
        let (one, other) = match (next_row(&mut before)?, next_row(&mut now)?) {
            (Some(one), Some(other)) => (one, other),
            (None, None) => break,
            (Some(_), None) => return Ok(Found::At(format!("row {number}, which is not there now; {FIRST}"))),
            (None, Some(_)) => return Ok(Found::At(format!("row {number}, which was not there; {FIRST}"))),
        };
        if is_too_long(&one) || is_too_long(&other) {
            return Ok(Found::Unreadable);
        }
        if number == 1 {
            header = names(&cells(&one, delimiter));
        }
        if one == other {
            continue;
        }
        let (one, other) = (cells(&one, delimiter), cells(&other, delimiter));
        let differs = |index: &usize| match (one.get(*index), other.get(*index)) {
            (Some(one), Some(other)) => one != other && !are_close(one, other, tolerance),
            _ => true,
        };
        if let Some(index) = (0..one.len().max(other.len())).find(differs) {
            let name = header
                .get(index)
                .map_or_else(String::new, |name| format!(" (`{name}`)"));
            return Ok(Found::At(format!("row {number}, column {}{name}; {FIRST}", index + 1)));
        }
    }
    Ok(Found::Nothing)
}

/// The next line without its line break; one that is too long is cut where that can be seen.
fn next_line(reader: &mut BufReader<File>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(LARGEST + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(line))
}

fn is_too_long(line: &[u8]) -> bool {
    line.len() as u64 > LARGEST
}

/// The next row without its line break; a line break between quotes is part of it.
fn next_row(reader: &mut BufReader<File>) -> io::Result<Option<Vec<u8>>> {
    let mut row: Vec<u8> = Vec::new();
    let mut quotes = 0;
    while let Some(line) = next_line(reader)? {
        quotes += line.iter().filter(|byte| **byte == b'"').count();
        row.extend(line);
        if quotes % 2 == 0 || is_too_long(&row) {
            return Ok(Some(row));
        }
        row.push(b'\n');
    }
    Ok((!row.is_empty()).then_some(row))
}

fn cells(row: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
    let row = row.strip_suffix(b"\r").unwrap_or(row);
    let mut cells = vec![Vec::new()];
    let mut is_quoted = false;
    let mut bytes = row.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let is_empty = cells.last().is_none_or(Vec::is_empty);
        match byte {
            b'"' if is_quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
            }
            b'"' if is_quoted => {
                is_quoted = false;
                continue;
            }
            b'"' if is_empty => {
                is_quoted = true;
                continue;
            }
            byte if byte == delimiter && !is_quoted => {
                cells.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(cell) = cells.last_mut() {
            cell.push(byte);
        }
    }
    cells
}

/// The names of columns, if the first row looks like names: what stands in a row may be about a person.
fn names(cells: &[Vec<u8>]) -> Vec<String> {
    let text = |cell: &Vec<u8>| String::from_utf8(cell.clone()).ok();
    let names: Vec<String> = cells.iter().filter_map(text).collect();
    let is_name = |name: &String| {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts_well && name.len() <= 80 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.- ".contains(&b))
    };
    match names.len() == cells.len() && names.iter().all(is_name) {
        true => names,
        false => Vec::new(),
    }
}

fn are_close(one: &[u8], other: &[u8], tolerance: Option<Tolerance>) -> bool {
    let number = |cell: &[u8]| std::str::from_utf8(cell).ok()?.trim().parse::<f64>().ok();
    match (tolerance, number(one), number(other)) {
        (Some(tolerance), Some(one), Some(other)) => tolerance.allows(one, other),
        _ => false,
    }
}

//! A CSV table as Parquet, column by column: the same names, the same numbers, an empty cell as null.
//!
//! Counts are INT64 ([`COUNTS`]), names are strings ([`NAMES`]), axes are numbers if all their values are, and
//! everything
//! else is DOUBLE: types follow from names, not from what a run happened to measure. `experiments/COLUMNS.md` says what
//! columns mean. Values are plain or in dictionaries and not compressed, which needs no further code.

use crate::failure::Failure;
use conductor_plots::Table;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Columns of whole numbers; also those whose names end like nodes' `_queue` and `_batch`.
const COUNTS: [&str; 15] = [
    "id",
    "input",
    "output",
    "prefill_node",
    "decode_node",
    "node",
    "hit_tokens",
    "tries",
    "live_requests",
    "seed",
    "rank",
    "replicas",
    "from_node",
    "to_node",
    "attempt",
];
/// Columns of text.
const NAMES: [&str; 14] = [
    "kind",
    "source",
    "outcome",
    "cell",
    "policy",
    "of",
    "experiment",
    "series",
    "what",
    "x",
    "unit",
    "required",
    "holds",
    "class",
];

/// The cells of a column, null where empty.
#[derive(Debug)]
enum Cells {
    Counts(Vec<Option<i64>>),
    Numbers(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
}

/// Writes the table at `path` beside it, with the ending `parquet`.
pub(super) fn convert(path: &Path) -> Result<(), Failure> {
    let table = Table::open(path).map_err(Failure::input)?;
    let mut columns = Vec::new();
    for name in table.header() {
        let cells = table.column_text(name).map_err(Failure::input)?;
        columns.push((name.as_str(), typed(name, cells)));
    }
    let into = path.with_extension("parquet");
    let file = File::create(&into).map_err(|error| Failure::file(&into, error))?;
    write(file, &columns).map_err(|error| Failure::file(&into, error))
}

/// The type that a column's name asks for; text where a cell does not fit it.
fn typed(name: &str, cells: Vec<String>) -> Cells {
    fn parsed<T: std::str::FromStr>(cells: &[String]) -> Option<Vec<Option<T>>> {
        let cell = |cell: &String| match cell.is_empty() {
            true => Ok(None),
            false => cell.parse().map(Some).map_err(|_| ()),
        };
        cells.iter().map(cell).collect::<Result<_, _>>().ok()
    }
    let is_count = COUNTS.contains(&name) || name.ends_with("_queue") || name.ends_with("_batch");
    let counts = || parsed(&cells).filter(|_| is_count).map(Cells::Counts);
    let numbers = || {
        parsed(&cells)
            .filter(|_| !NAMES.contains(&name))
            .map(Cells::Numbers)
    };
    if let Some(typed) = counts().or_else(numbers) {
        return typed;
    }
    let text = |cell: String| Some(cell).filter(|cell| !cell.is_empty());
    Cells::Texts(cells.into_iter().map(text).collect())
}

fn write(file: File, columns: &[(&str, Cells)]) -> Result<(), ParquetError> {
    let field = |(name, cells): &(&str, Cells)| {
        let (physical, logical) = match cells {
            Cells::Counts(_) => (Physical::INT64, None),
            Cells::Numbers(_) => (Physical::DOUBLE, None),
            Cells::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        field.build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
    let schema = Type::group_type_builder("conductor")
        .with_fields(fields)
        .build()?;
    let created = format!("conductor {}", env!("CARGO_PKG_VERSION"));
    let properties = WriterProperties::builder().set_created_by(created).build();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for (_, cells) in columns {
        let Some(mut column) = group.next_column()? else {
            break;
        };
        match cells {
            Cells::Counts(cells) => {
                let (values, levels) = present(cells, |count| *count);
                column
                    .typed::<Int64Type>()
                    .write_batch(&values, Some(&levels), None)?;
            }
            Cells::Numbers(cells) => {
                let (values, levels) = present(cells, |number| *number);
                column
                    .typed::<DoubleType>()
                    .write_batch(&values, Some(&levels), None)?;
            }
            Cells::Texts(cells) => {
                let (values, levels) = present(cells, |text| ByteArray::from(text.as_str()));
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&values, Some(&levels), None)?;
            }
        }
        column.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(())
}

/// The values that are there, and for each cell 1 if it has one.
fn present<T, U>(cells: &[Option<T>], value: impl Fn(&T) -> U) -> (Vec<U>, Vec<i16>) {
    let levels = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    (cells.iter().flatten().map(value).collect(), levels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    #[test]
    fn what_is_read_back_is_what_the_csv_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("requests.csv");
        let csv = "id,ttft_s,axis speed,outcome,prefill_0_queue\n\
                   0,3.844016763,fitted,completed,0\n\
                   18446744073709551616,,1,\"re\"\"jected, late\",2\n\
                   2,0.1,2.5,,\n";
        std::fs::write(&path, csv).expect("written");
        convert(&path).expect("converted");
        let file = File::open(folder.path().join("requests.parquet")).expect("there");
        let reader = SerializedFileReader::new(file).expect("Parquet");
        let rows: Vec<Vec<(String, Field)>> = reader
            .get_row_iter(None)
            .expect("rows")
            .map(|row| {
                row.expect("a row")
                    .get_column_iter()
                    .map(|(name, field)| (name.clone(), field.clone()))
                    .collect()
            })
            .collect();
        let columns: Vec<&str> = rows[0].iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            columns,
            ["id", "ttft_s", "axis speed", "outcome", "prefill_0_queue"]
        );
        let fields = |row: usize| -> Vec<Field> {
            rows[row].iter().map(|(_, field)| field.clone()).collect()
        };
        let text = |text: &str| Field::Str(text.to_string());
        let (none, double) = (Field::Null, Field::Double);
        // A count that fits no INT64 makes its column one of DOUBLE: nothing is lost silently but digits no double has.
        assert_eq!(
            fields(0),
            [
                double(0.0),
                double(3.844016763),
                text("fitted"),
                text("completed"),
                Field::Long(0)
            ]
        );
        assert_eq!(
            fields(1)[1..],
            [
                none.clone(),
                text("1"),
                text("re\"jected, late"),
                Field::Long(2)
            ]
        );
        assert_eq!(
            fields(2),
            [double(2.0), double(0.1), text("2.5"), none.clone(), none]
        );
    }
}

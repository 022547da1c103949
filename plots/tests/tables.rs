//! Reading CSV back, and what is said when it is not as expected.

use std::error::Error as _;

use conductor_plots::{PlotError, Table};

const REQUESTS: &str = "id,ttft_s,outcome\n0,1.5,completed\n1,,rejected\n2,0.25,completed\n";

fn table(text: &str) -> Result<Table, PlotError> {
    Table::read("requests.csv", text.as_bytes())
}

#[test]
fn columns_come_back_as_numbers_and_text() {
    let table = table(REQUESTS).expect("a sound table");
    assert_eq!(table.len(), 3);
    assert_eq!(table.header(), ["id", "ttft_s", "outcome"]);
    let ttft = table.column("ttft_s").expect("numbers");
    assert_eq!(format!("{ttft:?}"), "[1.5, NaN, 0.25]");
    assert_eq!(table.column_text("outcome").expect("text")[1], "rejected");
    assert_eq!(
        table.points("id", "ttft_s").expect("points")[2],
        (2.0, 0.25)
    );
}

#[test]
fn errors_name_file_line_and_column() {
    let table = table(REQUESTS).expect("a sound table");
    let say = |error: PlotError| error.to_string();
    assert_eq!(
        say(table.column("outcome").expect_err("text is no number")),
        "requests.csv, line 2, column `outcome`: `completed` is not a number"
    );
    assert_eq!(
        say(table.column("tbt_s").expect_err("there is no such column")),
        "requests.csv: no column `tbt_s`; there are id, ttft_s, outcome"
    );
}

#[test]
fn ragged_rows_and_missing_files_are_refused() {
    let error = table("a,b\n1,2\n3\n").expect_err("a ragged row");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("line: 3"), "{cause}");
    let error = Table::open("no/such/file.csv").expect_err("no such file");
    assert_eq!(error.to_string(), "no/such/file.csv: cannot open");
}

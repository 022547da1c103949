//! The report page: self-contained, escaped, in order.

use conductor_plots::{
    Best, Cell, Column, Figure, LineChart, LineSeries, Report, ResultTable, Verdict,
};
use expect_test::expect_file;

const NASTY: &str = "<script>alert(\"1\")</script> & 'more'";

fn picture(name: &str) -> String {
    let points = vec![(0.0, 1.0), (1.0, 2.0)];
    let series = vec![LineSeries {
        name: name.to_owned(),
        points,
        halves: Vec::new(),
        published: false,
    }];
    let chart = LineChart {
        title: name.to_owned(),
        series,
        ..LineChart::default()
    };
    chart.to_svg().expect("a sound chart can be drawn")
}

fn report(text: &str) -> Report {
    let verdict = |published, holds| Verdict {
        experiment: text.to_owned(),
        name: text.to_owned(),
        unit: "s".to_owned(),
        published,
        simulated: 3.3,
        half: Some(0.1),
        required: text.to_owned(),
        holds,
    };
    let figure = || Figure {
        title: text.to_owned(),
        svg: picture(text),
        caption: text.to_owned(),
    };
    Report::new(text)
        .summary(text)
        .facts(vec![(text.to_owned(), text.to_owned())])
        .contents()
        .section("first", text)
        .heading(text)
        .text(text)
        .results(ResultTable {
            caption: text.to_owned(),
            columns: vec![
                Column::text(text),
                Column::number("TTFT mean", "s", 2).best(Best::Lowest),
                Column::share("within SLO", 1),
            ],
            rows: vec![
                vec![Cell::from(text), Cell::from(12_345.678), Cell::from(0.5)],
                vec![Cell::from("short row"), Cell::from(3.0)],
                vec![Cell::from("none"), Cell::from(f64::NAN), Cell::from(text)],
            ],
        })
        .verdicts(vec![
            verdict(Some(3.0), Some(true)),
            verdict(None, Some(false)),
            verdict(Some(3.0), None),
        ])
        .figure(figure())
        .figure(figure())
        .details(text, text)
        .footer(text)
}

#[test]
fn nothing_is_fetched() {
    let page = report("a plain text").to_html();
    let namespace = "xmlns=\"http://www.w3.org/2000/svg\"";
    assert_eq!(
        page.matches("http://").count(),
        page.matches(namespace).count()
    );
    for wrong in ["https://", "src=", "@import", "url(h", "<link", "<iframe"] {
        assert!(!page.contains(wrong), "{wrong}");
    }
}

#[test]
fn all_text_is_escaped() {
    let page = report(NASTY).to_html();
    assert!(!page.contains("<script>alert"));
    assert!(!page.contains("alert(\""));
    // Title twice, and every other place it was given to.
    assert!(
        page.matches("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;more&#39;")
            .count()
            > 15
    );
}

#[test]
fn ids_do_not_clash() {
    let page = report("twice").to_html();
    let mut ids: Vec<&str> = page
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), count), (3, 3), "one id a figure, one a section");
}

#[test]
fn numbers_are_written_as_their_columns_say() {
    let page = report("x").to_html();
    for right in [
        "<td class=\"number\" data-value=\"12345.678\">12,345.68</td>",
        "<td class=\"number best\" data-value=\"3\">3.00</td>",
        "<td class=\"number\" data-value=\"0.5\">50.0</td>",
        "<td class=\"number\">–</td>",
        "data-value=\"10.000\">+10.0</td>",
        "1 of 2 hold; 2 published",
    ] {
        assert!(page.contains(right), "{right}");
    }
}

#[test]
fn the_page_as_a_whole() {
    let mut page = report("Text").to_html();
    // Their own files are what is looked at when they change; a browser tests them (`tests/browser/`).
    for (name, text) in [
        ("report.css", include_str!("../src/report/report.css")),
        ("report.js", include_str!("../src/report/report.js")),
        ("figure.js", include_str!("../src/report/figure.js")),
    ] {
        assert_eq!(page.matches(text).count(), 1, "{name} is there once");
        page = page.replace(text, &format!("[{name}]\n"));
    }
    expect_file!["golden/report.html"].assert_eq(&page);
}

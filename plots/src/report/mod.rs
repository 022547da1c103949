//! One page that a person likes to read: what was run, what came out, pictures, verdicts.
//!
//! The page is self-contained: style and script are inside, no font, image or script is fetched, and
//! a content security policy says so to the browser. It works from disk, in light and in dark, on
//! paper and without its scripts (`report.js` sorts and filters tables, `figure.js` says the values under the
//! pointer and zooms). All text is escaped.
//!
//! Not here: the choice of what a report contains.

mod render;
mod verdicts;

/// A page in the making. Its parts appear in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Report {
    title: String,
    summary: String,
    parts: Vec<Part>,
    footer: String,
}

#[derive(Clone, Debug)]
enum Part {
    Contents,
    Section { id: String, title: String },
    Heading(String),
    Text(String),
    Facts(Vec<(String, String)>),
    Results(ResultTable),
    Figure(Figure),
    Verdicts(Vec<Verdict>),
    Details { title: String, text: String },
}

/// A picture with its title and what to see in it.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it shows; also its name for those who cannot see it.
    pub title: String,
    /// The picture as a chart's `to_svg` made it. It is put on the page unescaped.
    pub svg: String,
    /// What to see in it.
    pub caption: String,
}

/// A table of numbers that the reader can sort.
#[derive(Clone, Debug, Default)]
pub struct ResultTable {
    /// What the rows are, in a few words.
    pub caption: String,
    /// The columns, left to right; the first names the row.
    pub columns: Vec<Column>,
    /// The rows: a missing cell is shown as "–", a surplus one is not shown.
    pub rows: Vec<Vec<Cell>>,
}

/// A column of a [`ResultTable`].
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The unit of its numbers, such as "s"; empty if they have none.
    pub unit: String,
    /// How its cells are written.
    pub kind: ColumnKind,
    /// Which of its numbers is printed bold.
    pub best: Best,
}

/// How the cells of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// As text; numbers, if any, in their shortest form.
    Text,
    /// Numbers with this many digits after the point, thousands parted by commas.
    Number {
        /// Digits after the point.
        digits: usize,
    },
    /// Shares (0.123) as percentages (12.3 %) with this many digits after the point.
    Share {
        /// Digits after the point.
        digits: usize,
    },
}

/// Which number of a column is the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Best {
    /// None in particular.
    #[default]
    None,
    /// The lowest.
    Lowest,
    /// The highest.
    Highest,
}

/// A cell of a [`ResultTable`].
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A name or a remark.
    Text(String),
    /// A number in its column's unit; shown as "–" if it is not finite.
    Number(f64),
}

/// One fact, published or required, and what the simulation makes of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The experiment that it belongs to, also the `id` of its section.
    pub experiment: String,
    /// What is compared.
    pub name: String,
    /// The unit of the numbers; empty if they have none.
    pub unit: String,
    /// The published number, if there is one; the error is relative to it.
    pub published: Option<f64>,
    /// The simulated number; NaN if there is none.
    pub simulated: f64,
    /// Half the height of the interval around the simulated number.
    pub half: Option<f64>,
    /// What was required of the simulated number; empty if nothing was.
    pub required: String,
    /// Whether it holds; none where nothing was required.
    pub holds: Option<bool>,
}

impl Report {
    /// A page titled `title`.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }

    /// The line under the title: what was run.
    #[must_use]
    pub fn summary(mut self, line: impl Into<String>) -> Self {
        self.summary = line.into();
        self
    }

    /// Adds a list of links to all sections.
    #[must_use]
    pub fn contents(self) -> Self {
        self.with(Part::Contents)
    }

    /// Adds a heading that links lead to by its `id`: letters, digits and dashes, each once a page.
    #[must_use]
    pub fn section(self, id: impl Into<String>, title: impl Into<String>) -> Self {
        self.with(Part::Section {
            id: id.into(),
            title: title.into(),
        })
    }

    /// Adds a heading; what follows, up to the next one, belongs to it.
    #[must_use]
    pub fn heading(self, text: impl Into<String>) -> Self {
        self.with(Part::Heading(text.into()))
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.with(Part::Text(text.into()))
    }

    /// Adds a list of facts: (name, value with its unit).
    #[must_use]
    pub fn facts(self, facts: Vec<(String, String)>) -> Self {
        self.with(Part::Facts(facts))
    }

    /// Adds a sortable table.
    #[must_use]
    pub fn results(self, table: ResultTable) -> Self {
        self.with(Part::Results(table))
    }

    /// Adds a picture. Pictures are numbered.
    #[must_use]
    pub fn figure(self, figure: Figure) -> Self {
        self.with(Part::Figure(figure))
    }

    /// Adds a table of published and simulated numbers, with a filter.
    #[must_use]
    pub fn verdicts(self, verdicts: Vec<Verdict>) -> Self {
        self.with(Part::Verdicts(verdicts))
    }

    /// Adds a text in fixed width, such as a configuration, folded away under `title`.
    #[must_use]
    pub fn details(self, title: impl Into<String>, text: impl Into<String>) -> Self {
        self.with(Part::Details {
            title: title.into(),
            text: text.into(),
        })
    }

    /// The last line: version, digest.
    #[must_use]
    pub fn footer(mut self, line: impl Into<String>) -> Self {
        self.footer = line.into();
        self
    }

    /// The page.
    pub fn to_html(&self) -> String {
        render::page(self)
    }

    fn with(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }
}

impl Column {
    /// A column of text.
    pub fn text(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            unit: String::new(),
            kind: ColumnKind::Text,
            best: Best::None,
        }
    }

    /// A column of numbers in `unit` with `digits` digits after the point.
    pub fn number(name: impl Into<String>, unit: impl Into<String>, digits: usize) -> Self {
        let kind = ColumnKind::Number { digits };
        Self {
            name: name.into(),
            unit: unit.into(),
            kind,
            best: Best::None,
        }
    }

    /// A column of shares, shown in % with `digits` digits after the point.
    pub fn share(name: impl Into<String>, digits: usize) -> Self {
        let kind = ColumnKind::Share { digits };
        Self {
            name: name.into(),
            unit: "%".to_owned(),
            kind,
            best: Best::None,
        }
    }

    /// The same column with its `best` number in bold.
    #[must_use]
    pub fn best(mut self, best: Best) -> Self {
        self.best = best;
        self
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Option<f64>> for Cell {
    fn from(number: Option<f64>) -> Self {
        Self::Number(number.unwrap_or(f64::NAN))
    }
}

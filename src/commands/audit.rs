//! `conductor audit`: decide a journal again. One that was written in parts (`run.jsonl`, `run.1.jsonl`, …) is read as
//! one; a last line that was cut off with the process that wrote it is left out, and said.

use crate::args::AuditArgs;
use crate::failure::Failure;
use crate::render;
use conductor_core::journal::{AuditError, Auditor};
use conductor_experiments::inputs;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A line longer than this is no journal's.
const LINE_MAX: u64 = 64 << 20;

/// Decides every step of the journal again.
pub(crate) fn run(args: &AuditArgs) -> Result<(), Failure> {
    let path = &args.journal;
    let bad =
        |error: &dyn std::fmt::Display| Failure::Input(format!("{}: {error}", path.display()));
    let policy = args.policy.as_deref().map(inputs::policy).transpose()?;
    let mut journal = open(path).map_err(|error| bad(&error))?;
    let mut line = Vec::new();
    let mut number = 0;
    let mut next = |line: &mut Vec<u8>| -> Result<bool, Failure> {
        number += 1;
        line.clear();
        let read = journal.by_ref().take(LINE_MAX).read_until(b'\n', line);
        let read = read.map_err(|error| bad(&format_args!("line {number}: {error}")))?;
        if read as u64 == LINE_MAX {
            return Err(bad(&format_args!(
                "line {number}: expected at most {LINE_MAX} bytes"
            )));
        }
        let cut = read > 0 && line.last() != Some(&b'\n');
        if cut && serde_json::from_slice::<serde_json::Value>(line).is_err() {
            eprintln!("conductor: warning: line {number} is cut off and left out");
            return Ok(false);
        }
        Ok(read > 0)
    };
    let failed = |error: AuditError| {
        let message = format!("{}: {error}", path.display());
        match error {
            AuditError::Malformed { .. } => Failure::Input(message),
            AuditError::Diverged(_) | AuditError::Digest { .. } => Failure::Divergence(message),
        }
    };
    if !next(&mut line)? {
        return Err(bad(&"the file is empty, expected a journal"));
    }
    let mut auditor = Auditor::new(&line, policy).map_err(failed)?;
    while next(&mut line)? {
        auditor.line(&line).map_err(failed)?;
    }
    let report = auditor.finish();
    if !report.complete {
        eprintln!("conductor: warning: the journal has no end: the run that wrote it was cut off");
    }
    let steps = report.steps;
    Ok(render::print(format_args!(
        "{}: all {steps} steps agree, digest {}",
        path.display(),
        report.digest
    ))?)
}

/// Opens a journal and the parts that follow it.
fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    let mut journal = open_part(path)?;
    for number in 1_u32.. {
        let next = part(path, number);
        if !next.is_file() {
            break;
        }
        journal = Box::new(journal.chain(open_part(&next)?));
    }
    Ok(journal)
}

/// Part `number` of `a/run.jsonl` is `a/run.<number>.jsonl`.
fn part(path: &Path, number: u32) -> PathBuf {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_extension(format!("{number}.{extension}"))
}

/// Opens a file, gzip recognised by content.
fn open_part(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    Ok(match file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        false => Box::new(file),
    })
}

//! Bytes to lines: opens a file, undoes gzip or zstd as its first bytes say, and hands out bounded lines.
//!
//! The name of a file is never asked: people rename and servers decompress. Memory is one buffer and one line,
//! whatever the length of the file. Not here: what a line means.

use super::error::{RowProblem, TraceError, excerpt};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest line that is read, in bytes; a row of 2^24 tokens in blocks of 512 needs about 0.7 MB.
pub(crate) const MAX_LINE: usize = 64 << 20;

const BUFFER: usize = 256 << 10;

/// The lines of one trace.
pub(crate) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead>,
    line: Vec<u8>,
    text: String,
    number: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, TraceError> {
        let open = |source| TraceError::Open {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(open)?;
        if file.metadata().map_err(open)?.is_dir() {
            return Err(TraceError::Directory {
                path: path.to_owned(),
            });
        }
        Self::new(path, Box::new(file))
    }

    /// Lines from any bytes; `path` is only their name in messages.
    pub(crate) fn new(path: &Path, input: Box<dyn Read>) -> Result<Self, TraceError> {
        let mut input = BufReader::with_capacity(BUFFER, input);
        let fault = |source| TraceError::Read {
            path: path.to_owned(),
            line: 1,
            source,
        };
        // A pipe may hand over a single byte first, so the magic number is gathered.
        let mut magic = Vec::with_capacity(4);
        input
            .by_ref()
            .take(4)
            .read_to_end(&mut magic)
            .map_err(fault)?;
        let kind: [u8; 4] = std::array::from_fn(|i| magic.get(i).copied().unwrap_or(0));
        let input = BufReader::with_capacity(BUFFER, io::Cursor::new(magic).chain(input));
        let input: Box<dyn BufRead> = match kind {
            [0x1f, 0x8b, ..] => {
                Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(input)))
            }
            // A frame of zstd, or a skippable one that comes before it.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                Box::new(BufReader::with_capacity(BUFFER, ZstdFrames::new(input)))
            }
            _ => Box::new(input),
        };
        Ok(Self {
            path: path.to_owned(),
            input,
            line: Vec::new(),
            text: String::new(),
            number: 0,
        })
    }

    /// The next line without its end; `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> Result<Option<&str>, TraceError> {
        // The two buffers are one allocation, which changes its type once a line.
        self.line = std::mem::take(&mut self.text).into_bytes();
        self.line.clear();
        self.number += 1;
        let limit = MAX_LINE as u64 + 1;
        let read = self
            .input
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.line);
        if let Err(source) = read {
            return Err(TraceError::Read {
                path: self.path.clone(),
                line: self.number,
                source,
            });
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.is_empty() {
            return Ok(None);
        }
        if self.line.len() > MAX_LINE {
            return Err(self.fault(RowProblem::TooLong { limit: MAX_LINE }));
        }
        // Some editors put a byte order mark in front of the first line.
        if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
            self.line.drain(..3);
        }
        match String::from_utf8(std::mem::take(&mut self.line)) {
            Ok(text) => self.text = text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes()[at];
                return Err(self.fault(RowProblem::NotUtf8 {
                    column: at + 1,
                    byte,
                }));
            }
        }
        Ok(Some(&self.text))
    }

    /// The line that was read last.
    pub(crate) fn current(&self) -> &str {
        &self.text
    }

    /// `problem` with this file and the line that was read last.
    pub(crate) fn fault(&self, problem: RowProblem) -> TraceError {
        TraceError::Row {
            path: self.path.clone(),
            line: self.number,
            problem,
        }
    }

    pub(crate) fn unknown(&self) -> TraceError {
        TraceError::UnknownFormat {
            path: self.path.clone(),
            found: excerpt(self.text.as_bytes()),
        }
    }

    pub(crate) fn empty(&self) -> TraceError {
        TraceError::Empty {
            path: self.path.clone(),
        }
    }
}

/// zstd frames one behind the other, as `zstd -c a b` and parallel compressors write them.
struct ZstdFrames<R> {
    input: R,
    decoder: FrameDecoder,
    inside: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            decoder: FrameDecoder::new(),
            inside: false,
        }
    }

    /// Reads the header of the next frame, over a skippable frame if one comes first.
    fn start(&mut self) -> io::Result<()> {
        match self.decoder.reset(&mut self.input) {
            Ok(()) => self.inside = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = u64::from(length);
                if io::copy(&mut self.input.by_ref().take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(zstd_fault(&error.to_string())),
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.inside {
                if self.decoder.can_collect() > 0 {
                    return self.decoder.read(out);
                }
                if !self.decoder.is_finished() {
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    let decoded = self.decoder.decode_blocks(&mut self.input, one);
                    decoded.map_err(|error| zstd_fault(&error.to_string()))?;
                    continue;
                }
                let stored = self.decoder.get_checksum_from_data();
                let computed = self.decoder.get_calculated_checksum();
                if stored.is_some() && computed.is_some() && stored != computed {
                    return Err(zstd_fault("the checksum does not match"));
                }
                self.inside = false;
            }
            if self.input.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.start()?;
        }
    }
}

fn zstd_fault(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {what}"))
}

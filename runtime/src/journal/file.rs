//! A journal in files: `NAME.jsonl`, and when that has grown to its limit `NAME.1.jsonl`, `NAME.2.jsonl`, … go on where
//! it stopped. One after the other they are one journal. An earlier run's journal of the same name is kept: it is
//! renamed to `NAME.run-1.jsonl`, `NAME.run-1.1.jsonl`, … with the first number that is free.

use super::Journal;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines go to the disk in pieces of about so many bytes.
const BUFFER: usize = 1 << 16;

/// When the thread tells the disk to keep what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncPolicy {
    /// At the end, and when a file is full.
    AtEnd,
    /// At least once a second while there is something new.
    EverySecond,
}

/// Where and how.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// The first file.
    pub path: PathBuf,
    /// A file that has this many bytes is full.
    pub file_bytes_max: u64,
    /// Lines that wait for the disk at most; a line is some hundred bytes.
    pub queue_lines: usize,
    /// See [`SyncPolicy`].
    pub sync: SyncPolicy,
}

impl JournalConfig {
    /// The usual limits: files of 256 MiB, 65,536 lines, synced every second.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            file_bytes_max: 256 << 20,
            queue_lines: 1 << 16,
            sync: SyncPolicy::EverySecond,
        }
    }
}

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

/// See the module.
pub struct FileJournal {
    queue: Option<SyncSender<Message>>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl FileJournal {
    /// Creates the first file; what an earlier run left there is renamed.
    ///
    /// # Errors
    /// If it cannot be created, or the thread cannot.
    pub fn create(config: JournalConfig) -> io::Result<Self> {
        let (queue, lines) = sync_channel(config.queue_lines);
        let lost = Arc::new(AtomicU64::new(0));
        let files = Files::create(config, Arc::clone(&lost))?;
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || files.run(&lines))?;
        Ok(Self {
            queue: Some(queue),
            lost,
            thread: Some(thread),
        })
    }
}

impl Journal for FileJournal {
    fn line(&mut self, line: String) {
        let queue = self.queue.as_ref();
        let sent = queue.is_some_and(|queue| queue.try_send(Message::Line(line)).is_ok());
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&mut self) {
        let (done, wait) = sync_channel(1);
        if let Some(queue) = &self.queue
            && queue.send(Message::Flush(done)).is_ok()
        {
            let _ = wait.recv();
        }
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Files {
    config: JournalConfig,
    file: File,
    /// Whole lines that are not in the file yet, and how many.
    buffer: Vec<u8>,
    buffered: u64,
    /// Bytes of whole lines that the file has.
    written: u64,
    full: u32,
    /// Something was written since the disk was last told to keep it.
    dirty: bool,
    lost: Arc<AtomicU64>,
    /// The last error was said.
    complained: bool,
}

impl Files {
    fn create(config: JournalConfig, lost: Arc<AtomicU64>) -> io::Result<Self> {
        put_aside(&config.path)?;
        Ok(Self {
            file: File::create(&config.path)?,
            config,
            buffer: Vec::with_capacity(2 * BUFFER),
            buffered: 0,
            written: 0,
            full: 0,
            dirty: false,
            lost,
            complained: false,
        })
    }

    fn run(mut self, messages: &Receiver<Message>) {
        let mut synced = Instant::now();
        loop {
            match messages.recv_timeout(Duration::from_millis(200)) {
                Ok(Message::Line(line)) => {
                    let taken = self.take(&line);
                    self.judge(taken);
                }
                Ok(Message::Flush(done)) => {
                    let kept = self.keep();
                    self.judge(kept);
                    self.sum_up();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let kept = self.keep();
                    self.judge(kept);
                    return;
                }
            }
            let due =
                (self.dirty || self.buffered > 0) && synced.elapsed() >= Duration::from_secs(1);
            if due && self.config.sync == SyncPolicy::EverySecond {
                let kept = self.keep();
                self.judge(kept);
                synced = Instant::now();
            }
        }
    }

    /// Says how many lines are lost in all, if any are.
    fn sum_up(&self) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            let path = self.config.path.display();
            eprintln!("conductord: journal {path}: {lost} lines are lost");
        }
    }

    /// A disk that is full or broken costs lines, never decisions: all that are not in the file. What of them the disk
    /// has taken is cut off again, so that the file has whole lines.
    fn judge(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        let lost = self.lost.fetch_add(self.buffered, Ordering::Relaxed) + self.buffered;
        self.buffer.clear();
        self.buffered = 0;
        let cut = self.file.set_len(self.written);
        let _ = cut.and_then(|()| self.file.seek(SeekFrom::Start(self.written)));
        if !std::mem::replace(&mut self.complained, true) {
            let path = self.config.path.display();
            eprintln!("conductord: journal {path}: {error}: {lost} lines are lost so far");
        }
    }

    fn take(&mut self, line: &str) -> io::Result<()> {
        let bytes = line.len() as u64 + 1;
        let whole = self.written + self.buffer.len() as u64;
        let next_file = whole > 0 && whole + bytes > self.config.file_bytes_max;
        if next_file {
            self.keep().inspect_err(|_| self.lose_one())?;
            let path = numbered(&self.config.path, self.full + 1);
            self.file = File::create(path).inspect_err(|_| self.lose_one())?;
            (self.full, self.written) = (self.full + 1, 0);
        }
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.push(b'\n');
        self.buffered += 1;
        match self.buffer.len() >= BUFFER {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// A line that did not come as far as the buffer.
    fn lose_one(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffered = 0;
        (self.dirty, self.complained) = (true, false);
        Ok(())
    }

    fn keep(&mut self) -> io::Result<()> {
        self.write()?;
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// Renames the files of a journal that is there and has something in it.
fn put_aside(path: &Path) -> io::Result<()> {
    let there = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0);
    if !there {
        return Ok(());
    }
    let mut names = (1_u32..).map(|number| marked(path, &format!("run-{number}")));
    let aside = names.find(|aside| !aside.exists());
    let aside = aside.ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(path, &aside)?;
    for number in 1.. {
        match fs::rename(numbered(path, number), numbered(&aside, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            renamed => renamed?,
        }
    }
    let (path, aside) = (path.display(), aside.display());
    eprintln!("conductord: journal {path}: an earlier run's is now {aside}");
    Ok(())
}

/// `a/b.jsonl` with number 2 is `a/b.2.jsonl`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    marked(path, &number.to_string())
}

/// `a/b.jsonl` with the mark `x` is `a/b.x.jsonl`.
fn marked(path: &Path, mark: &str) -> PathBuf {
    match path.extension() {
        Some(extension) => {
            let mut ending = format!("{mark}.").into_bytes();
            ending.extend_from_slice(extension.as_encoded_bytes());
            path.with_extension(String::from_utf8_lossy(&ending).as_ref())
        }
        None => path.with_extension(mark),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_go_on_in_the_next_and_nothing_is_lost() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.jsonl");
        let mut journal = FileJournal::create(JournalConfig {
            file_bytes_max: 100,
            sync: SyncPolicy::AtEnd,
            ..JournalConfig::new(&path)
        })
        .expect("creates");
        let lines: Vec<String> = (0..50).map(|i| format!("line {i}")).collect();
        for line in &lines {
            journal.line(line.clone());
        }
        journal.flush();
        assert_eq!(journal.lost(), 0);
        let mut found = fs::read_to_string(&path).expect("the first file");
        assert!(found.len() <= 100);
        let mut number = 0;
        while let Ok(more) = fs::read_to_string(numbered(&path, number + 1)) {
            number += 1;
            found += &more;
        }
        assert!(number >= 3, "several files");
        assert_eq!(found.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn the_journal_of_an_earlier_run_is_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.jsonl");
        for run in 0..3 {
            let mut journal = FileJournal::create(JournalConfig {
                file_bytes_max: 10,
                ..JournalConfig::new(&path)
            })
            .expect("creates");
            journal.line(format!("first {run}"));
            journal.line(format!("other {run}"));
            journal.flush();
        }
        for (name, text) in [
            ("run.run-1.jsonl", "first 0\n"),
            ("run.run-1.1.jsonl", "other 0\n"),
            ("run.run-2.jsonl", "first 1\n"),
            ("run.run-2.1.jsonl", "other 1\n"),
            ("run.jsonl", "first 2\n"),
            ("run.1.jsonl", "other 2\n"),
        ] {
            let found = fs::read_to_string(folder.path().join(name));
            assert_eq!(found.expect(name), text, "{name}");
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_lines_and_is_counted() {
        // Every write to it fails with "no space left on device".
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let config = JournalConfig::new(full);
        let mut journal = FileJournal::create(config).expect("it can be opened");
        let line = "x".repeat(1 << 17);
        for _ in 0..3 {
            journal.line(line.clone());
        }
        // These would wait in memory.
        for number in 0..5 {
            journal.line(format!("line {number}"));
        }
        journal.flush();
        assert_eq!(journal.lost(), 8);
    }
}

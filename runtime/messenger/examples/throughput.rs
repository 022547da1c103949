//! GB/s of both transports between two processes, beside `iperf3` and `memcpy` in the same run.
//!
//!     cargo run --release -p conductor-messenger --example throughput [-- ROUNDS]
//!
//! All are measured in turn, round after round, since a machine's speed changes with what else it does; the medians are
//! printed, and each transport's ratio to its yardstick is the median of the rounds' ratios. `iperf3` is left out if
//! there is none.

use conductor_core::ids::NodeId;
use conductor_messenger::{
    Access, Grant, Link, NoCalls, Op, Options, Pages, Region, Rights, Secret, Shm, Span, Tcp,
    Transport,
};
use std::collections::VecDeque;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A set of 128 blocks of 512 KiB, scattered over a region twice as large.
const BLOCK: u64 = 512 * 1024;
const BLOCKS: u64 = 128;
const REGION: u64 = 2 * BLOCK * BLOCKS;
/// Blocks of one operation.
const PER_OP: usize = 8;
const MEASURE: Duration = Duration::from_millis(700);

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match words.first().map(String::as_str) {
        Some("target") => runtime.block_on(target(&words[1])),
        rounds => {
            let rounds = rounds.map_or(Ok(7), str::parse)?;
            runtime.block_on(measure(rounds))
        }
    }
}

fn options(node: u16, lanes: u16) -> Options {
    let mut options = Options::new(NodeId(node), Secret::new(b"throughput"));
    options.lanes = lanes;
    options.deadline = Duration::from_secs(30);
    options
}

fn pages() -> Pages {
    Pages {
        huge: false,
        populate: true,
    }
}

/// The other process: a region that may be read and written.
async fn target(folder: &str) -> Fallible<()> {
    let region = Region::allocate(REGION, pages())?;
    let any = "127.0.0.1:0".parse()?;
    let (tcp, _notices) = Tcp::bind(any, options(1, 1), Arc::new(NoCalls)).await?;
    let path = Path::new(folder).join("target.sock");
    let (shm, _more) = Shm::bind(&path, options(1, 1), Arc::new(NoCalls))?;
    for transport in [&tcp as &dyn Transport, &shm] {
        let access = Access {
            window: region.whole(),
            rights: Rights::BOTH,
            node: None,
        };
        let grant = transport.register(&region, access)?;
        let bytes: Vec<String> = grant.to_bytes().iter().map(u8::to_string).collect();
        println!("{} {}", transport.address(), bytes.join(","));
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0; 1])).await??;
    Ok(())
}

/// Ended when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The blocks of a set in an order that no prefetcher knows, every second one of the region.
fn scattered(turn: u64) -> Vec<Span> {
    let place = |i: u64| (i * 37 + turn) % BLOCKS * 2 + turn % 2;
    (0..BLOCKS)
        .map(|i| Span::new(place(i) * BLOCK, BLOCK))
        .collect()
}

async fn measure(rounds: usize) -> Fallible<()> {
    let folder = std::env::temp_dir().join(format!("messenger-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["target".as_ref(), folder.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let _child = Ended(child);
    let mut peer = || -> Fallible<_> {
        let line = lines.next().ok_or("the target said nothing")??;
        let (address, bytes) = line.split_once(' ').ok_or("two words")?;
        let bytes: Vec<u8> = bytes.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let bytes = bytes.as_slice().try_into()?;
        Ok((address.parse()?, Grant::of_bytes(bytes).ok_or("a grant")?))
    };
    let (tcp_address, tcp_grant) = peer()?;
    let (shm_address, shm_grant) = peer()?;

    let region = Region::allocate(REGION, pages())?;
    let any = "127.0.0.1:0".parse()?;
    let (tcp, _n) = Tcp::bind(any, options(0, 1), Arc::new(NoCalls)).await?;
    let (tcp2, _n) = Tcp::bind(any, options(0, 2), Arc::new(NoCalls)).await?;
    let (shm, _n) = Shm::bind(&folder.join("own.sock"), options(0, 1), Arc::new(NoCalls))?;
    let one = tcp.connect(&tcp_address).await?;
    let two = tcp2.connect(&tcp_address).await?;
    let mapped = shm.connect(&shm_address).await?;

    let copied = Memcpy::new();
    let (mut table, has_iperf) = (Table::default(), iperf(1).is_some());
    for round in 0..rounds {
        // The yardsticks before and behind their transports in turn.
        let memcpy = copied.run();
        table.add(round, "memcpy, one thread", None, memcpy);
        let speed = own_copy(&region);
        table.add(
            round,
            "a region's own copy",
            Some("memcpy, one thread"),
            speed,
        );
        for (name, write) in [("shm write", true), ("shm read", false)] {
            let speed = run(&mapped, &region, shm_grant, write).await?;
            table.add(round, name, Some("memcpy, one thread"), speed);
        }
        for (lanes, link) in [(1, &one), (2, &two)] {
            let yard = ["iperf3, 1 connection", "iperf3, 2 connections"][lanes - 1];
            if has_iperf {
                let speed = tokio::task::spawn_blocking(move || iperf(lanes)).await?;
                table.add(round, yard, None, speed.ok_or("iperf3 failed")?);
            }
            for (way, write) in [("write", true), ("read", false)] {
                let speed = run(link, &region, tcp_grant, write).await?;
                let name = format!("tcp {way}, {lanes} lane(s)");
                table.add(round, &name, Some(yard), speed);
            }
        }
    }
    table.print();
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Bytes per nanosecond, which are GB/s, over a few hundred milliseconds with 16 operations under way.
async fn run(link: &Arc<dyn Link>, region: &Region, grant: Grant, write: bool) -> Fallible<f64> {
    let (here, there) = (scattered(0), scattered(1));
    let op = |i: usize| {
        let part = i % (BLOCKS as usize / PER_OP) * PER_OP;
        let (local, remote) = (&here[part..part + PER_OP], &there[part..part + PER_OP]);
        match write {
            true => Op::write(region, local, grant, remote),
            false => Op::read(region, local, grant, remote),
        }
    };
    let (mut tickets, mut done, mut next) = (VecDeque::new(), 0u64, 0);
    let begun = Instant::now();
    while begun.elapsed() < MEASURE || !tickets.is_empty() {
        while begun.elapsed() < MEASURE && tickets.len() < 16 {
            tickets.push_back(link.submit(op(next)?).await?);
            next += 1;
        }
        if let Some(ticket) = tickets.pop_front() {
            ticket.await?;
            done += BLOCK * PER_OP as u64;
        }
    }
    Ok(done as f64 / begun.elapsed().as_nanos() as f64)
}

/// The same blocks in the same order, copied by the standard library within one process.
struct Memcpy {
    from: Vec<u8>,
}

impl Memcpy {
    fn new() -> Self {
        Self {
            from: vec![1; REGION as usize],
        }
    }

    fn run(&self) -> f64 {
        let mut into = vec![2u8; REGION as usize];
        let pairs: Vec<_> = scattered(0).into_iter().zip(scattered(1)).collect();
        let (mut done, begun) = (0u64, Instant::now());
        while begun.elapsed() < MEASURE {
            for (here, there) in &pairs {
                let range = |s: &Span| s.offset as usize..(s.offset + s.bytes) as usize;
                into[range(there)].copy_from_slice(black_box(&self.from[range(here)]));
                done += BLOCK;
            }
            black_box(&mut into);
        }
        done as f64 / begun.elapsed().as_nanos() as f64
    }
}

/// The same once more by the copy that regions are copied with, from one region into another.
fn own_copy(from: &Region) -> f64 {
    let Ok(into) = Region::allocate(REGION, pages()) else {
        return f64::NAN;
    };
    let pairs: Vec<_> = scattered(0).into_iter().zip(scattered(1)).collect();
    let (mut done, begun) = (0u64, Instant::now());
    while begun.elapsed() < MEASURE {
        for (here, there) in &pairs {
            into.copy_from(there.offset, from, *here);
            done += BLOCK;
        }
    }
    done as f64 / begun.elapsed().as_nanos() as f64
}

/// GB/s that iperf3's receiver reports over loopback; `None` without iperf3.
fn iperf(connections: usize) -> Option<f64> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .ok()?
        .local_addr()
        .ok()?
        .port();
    let port = port.to_string();
    let server = Command::new("iperf3")
        .args(["-s", "-1", "-B", "127.0.0.1", "-p", &port])
        .stdout(Stdio::null())
        .spawn()
        .ok()?;
    let _server = Ended(server);
    std::thread::sleep(Duration::from_millis(150));
    let client = Command::new("iperf3")
        .args(["-c", "127.0.0.1", "-p", &port, "-t", "1", "-J"])
        .args(["-P", &connections.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(client.stdout).ok()?;
    let sum = text.split("\"sum_received\"").nth(1)?;
    let value = sum.split("\"bits_per_second\":").nth(1)?;
    let bits: f64 = value.split([',', '}']).next()?.trim().parse().ok()?;
    Some(bits / 8e9)
}

/// What was measured: name, yardstick, GB/s by round.
#[derive(Default)]
struct Table(Vec<(String, Option<&'static str>, Vec<f64>)>);

impl Table {
    fn add(&mut self, round: usize, name: &str, yard: Option<&'static str>, speed: f64) {
        if round == 0 {
            self.0.push((name.to_owned(), yard, Vec::new()));
        }
        let row = self.0.iter_mut().find(|row| row.0 == name);
        row.expect("entered in the first round").2.push(speed);
    }

    fn print(&self) {
        println!("| what | GB/s: median | lowest | highest | of its yardstick |");
        println!("|---|---|---|---|---|");
        for (name, yard, speeds) in &self.0 {
            let beside = self.0.iter().find(|row| Some(row.0.as_str()) == *yard);
            let ratio = beside.map(|(yard, _, all)| {
                let ratios = speeds.iter().zip(all).map(|(a, b)| a / b).collect();
                format!("{:.2} of {yard}", sorted(ratios)[speeds.len() / 2])
            });
            let speeds = sorted(speeds.clone());
            let (low, high) = (speeds[0], speeds[speeds.len() - 1]);
            let median = speeds[speeds.len() / 2];
            let ratio = ratio.unwrap_or_default();
            println!("| {name} | {median:.2} | {low:.2} | {high:.2} | {ratio} |");
        }
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

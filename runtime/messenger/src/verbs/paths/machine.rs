//! The machine: what each fact changes. See `paths.rs` for the rules.

use super::{Do, Event, Failure, Notice, OpId, Part, Rules, Why};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Of an operation that does not exist: a probe's.
const NOBODY: OpId = OpId(u64::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Shut,
    Opening,
    Open,
    /// Open, but not yet known to work.
    Probing,
    /// Down afterwards, or only shut.
    Closing {
        down: bool,
    },
    Down {
        until: Duration,
    },
}

#[derive(Debug)]
pub(super) struct Path {
    /// 0: preferred.
    pub(super) rank: u8,
    pub(super) state: State,
    pub(super) posted: VecDeque<(u64, OpId, Part)>,
    /// What was posted when it failed, until it is closed.
    held: Vec<(OpId, Part)>,
    /// In a row.
    pub(super) failures: u32,
    next: u64,
}

#[derive(Debug)]
pub(super) struct Flight {
    /// Slices that are not done.
    left: usize,
    /// Orders that are not answered: posted or held parts, `Tell`, `Confirm`.
    pub(super) out: usize,
    notice: Notice,
    deadline: Duration,
    failures: u32,
    doomed: Option<Why>,
    /// Its key is being asked for; its parts wait in `parked`.
    confirming: bool,
    parked: Vec<Part>,
}

/// The paths of one link and what is under way on them.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(super) rules: Rules,
    pub(super) paths: Vec<Path>,
    pub(super) flights: BTreeMap<OpId, Flight>,
    pub(super) ready: VecDeque<(OpId, Part)>,
    pub(super) orders: VecDeque<Do>,
    pub(super) now: Duration,
}

impl Paths {
    /// All shut, with these ranks.
    pub(crate) fn new(ranks: impl IntoIterator<Item = u8>, rules: Rules) -> Self {
        let path = |rank| Path {
            rank,
            state: State::Shut,
            posted: VecDeque::new(),
            held: Vec::new(),
            failures: 0,
            next: 0,
        };
        Self {
            rules,
            paths: ranks.into_iter().map(path).collect(),
            flights: BTreeMap::new(),
            ready: VecDeque::new(),
            orders: VecDeque::new(),
            now: Duration::ZERO,
        }
    }

    /// The next order, in the order in which they have to be carried out.
    pub(crate) fn order(&mut self) -> Option<Do> {
        self.orders.pop_front()
    }

    /// Nothing is under way and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// Something may complete: looking pays.
    pub(crate) fn is_waiting(&self) -> bool {
        self.paths.iter().any(|path| !path.posted.is_empty())
    }

    /// When time itself is an event.
    pub(crate) fn wake(&self) -> Option<Duration> {
        let alive = self.flights.values().filter(|f| f.doomed.is_none());
        let deadlines = alive.map(|flight| flight.deadline);
        let down = self.paths.iter().filter_map(|path| match path.state {
            State::Down { until } if until > self.now && !self.ready.is_empty() => Some(until),
            _ => None,
        });
        deadlines.chain(down).min()
    }

    /// Takes a fact in.
    pub(crate) fn handle(&mut self, now: Duration, event: Event) {
        self.now = now;
        match event {
            Event::Submitted {
                op,
                slices,
                notice,
                deadline,
            } => self.submitted(op, slices, notice, deadline),
            Event::Opened(path) => self.opened(path),
            Event::OpenFailed(path) => self.open_failed(path),
            Event::Completed(path, number) => self.completed(path, number),
            Event::Failed(path, number, failure) => self.failed(path, number, failure),
            Event::Closed(path) => self.closed(path),
            Event::Evict(path) => {
                let Path { state, posted, .. } = &self.paths[path];
                if *state == State::Open && posted.is_empty() {
                    self.close(path, false);
                }
            }
            Event::Told(op) => self.answered(op, |machine, flight| {
                flight.out -= 1;
                match flight.doomed {
                    None => machine.orders.push_back(Do::Finish(op, Ok(()))),
                    Some(why) => machine.orders.push_back(Do::Finish(op, Err(why))),
                }
                false
            }),
            Event::Confirmed(op, known) => self.answered(op, |machine, flight| {
                flight.out -= 1;
                flight.confirming = false;
                if !known && flight.doomed.is_none() {
                    flight.doomed = Some(Why::Refused);
                }
                let parked = std::mem::take(&mut flight.parked);
                let again = parked.into_iter().map(|part| (op, part));
                if flight.doomed.is_none() {
                    machine.ready.extend(again);
                }
                true
            }),
            Event::Lost => self.lost(),
            Event::Tick => self.tick(),
        }
        self.advance();
    }

    fn submitted(&mut self, op: OpId, slices: usize, notice: Notice, deadline: Duration) {
        let flight = Flight {
            left: slices,
            out: 0,
            notice,
            deadline,
            failures: 0,
            doomed: None,
            confirming: false,
            parked: Vec::new(),
        };
        match (slices, notice) {
            (0, _) => {}
            (1, Notice::Wire) => self.ready.push_back((op, Part::Only)),
            _ => self.ready.extend((0..slices).map(|i| (op, Part::Slice(i)))),
        }
        self.flights.insert(op, flight);
        if slices == 0 {
            self.moved(op);
        }
    }

    /// All slices of an operation are in place.
    fn moved(&mut self, op: OpId) {
        self.answered(op, |machine, flight| {
            if flight.doomed.is_some() {
                return true;
            }
            match flight.notice {
                Notice::None => {
                    machine.orders.push_back(Do::Finish(op, Ok(())));
                    return false;
                }
                Notice::Wire => machine.ready.push_back((op, Part::Notice)),
                Notice::Connection => {
                    flight.out += 1;
                    machine.orders.push_back(Do::Tell(op));
                }
            }
            true
        });
    }

    fn opened(&mut self, path: usize) {
        let number = {
            let path = &mut self.paths[path];
            if path.state != State::Opening {
                return;
            }
            if path.failures == 0 {
                path.state = State::Open;
                return;
            }
            path.state = State::Probing;
            path.post(NOBODY, Part::Probe)
        };
        self.orders.push_back(Do::Post {
            path,
            number,
            op: NOBODY,
            part: Part::Probe,
        });
    }

    fn open_failed(&mut self, path: usize) {
        if self.paths[path].state != State::Opening {
            return;
        }
        self.paths[path].failures += 1;
        self.down(path);
        let tries = self.rules.tries;
        let given_up = |path: &Path| path.failures >= tries;
        if self.paths.iter().all(given_up) {
            let waiting: Vec<OpId> = self.flights.keys().copied().collect();
            for op in waiting {
                self.doom(op, Why::NoPath);
            }
        }
    }

    fn down(&mut self, path: usize) {
        let path = &mut self.paths[path];
        let times = 1 << path.failures.saturating_sub(1).min(5);
        path.state = State::Down {
            until: self.now + self.rules.pause * times,
        };
    }

    fn completed(&mut self, path: usize, number: u64) {
        while let Some(&(first, op, part)) = self.paths[path].posted.front() {
            if first > number {
                break;
            }
            let entry = &mut self.paths[path];
            entry.posted.pop_front();
            entry.failures = 0;
            if entry.state == State::Probing {
                entry.state = State::Open;
            }
            self.done(op, part);
        }
    }

    fn done(&mut self, op: OpId, part: Part) {
        let mut moved = false;
        self.answered(op, |machine, flight| {
            flight.out -= 1;
            match part {
                Part::Slice(_) => {
                    flight.left -= 1;
                    moved = flight.left == 0;
                    true
                }
                Part::Only | Part::Notice => {
                    machine.orders.push_back(Do::Finish(op, Ok(())));
                    false
                }
                Part::Probe => true,
            }
        });
        if moved {
            self.moved(op);
        }
    }

    fn failed(&mut self, path: usize, number: u64, failure: Failure) {
        if !matches!(self.paths[path].state, State::Open | State::Probing) {
            return;
        }
        // A queue pair works in order: what was posted before has succeeded.
        if let Some(before) = number.checked_sub(1) {
            let failures = self.paths[path].failures;
            self.completed(path, before);
            self.paths[path].failures = failures;
        }
        let culprit = self.paths[path].posted.front().map(|&(_, op, _)| op);
        let down = failure == Failure::Path;
        self.paths[path].failures += u32::from(down);
        self.close(path, down);
        let Some(op) = culprit.filter(|&op| op != NOBODY) else {
            return;
        };
        let tries = self.rules.tries;
        let Some(flight) = self.flights.get_mut(&op) else {
            return;
        };
        flight.failures += 1;
        if flight.failures >= tries {
            let why = match failure {
                Failure::Access => Why::Refused,
                Failure::Path => Why::NoPath,
            };
            self.doom(op, why);
        } else if failure == Failure::Access && !flight.confirming && flight.doomed.is_none() {
            flight.confirming = true;
            flight.out += 1;
            let waiting = self.ready.iter().filter(|(of, _)| *of == op);
            flight.parked.extend(waiting.map(|&(_, part)| part));
            self.ready.retain(|(of, _)| *of != op);
            self.orders.push_back(Do::Confirm(op));
        }
    }

    fn close(&mut self, path: usize, down: bool) {
        let entry = &mut self.paths[path];
        let posted = entry.posted.drain(..).map(|(_, op, part)| (op, part));
        entry.held.extend(posted);
        entry.state = State::Closing { down };
        self.orders.push_back(Do::Close(path));
    }

    fn closed(&mut self, path: usize) {
        let State::Closing { down } = self.paths[path].state else {
            return;
        };
        match down {
            true => self.down(path),
            false => self.paths[path].state = State::Shut,
        }
        let held = std::mem::take(&mut self.paths[path].held);
        // From the last to the first, each in front of all others: the order stays.
        for (op, part) in held.into_iter().rev() {
            self.answered(op, |machine, flight| {
                flight.out -= 1;
                match (flight.doomed, flight.confirming) {
                    (Some(_), _) => {}
                    (None, true) => flight.parked.push(part),
                    (None, false) => machine.ready.push_front((op, part)),
                }
                true
            });
        }
    }

    fn lost(&mut self) {
        self.ready.clear();
        for path in &mut self.paths {
            path.state = State::Shut;
            path.posted.clear();
            path.held.clear();
        }
        // Orders that nobody can carry out any more; what is finished stays finished.
        self.orders.retain(|order| matches!(order, Do::Finish(..)));
        for (op, flight) in std::mem::take(&mut self.flights) {
            let why = flight.doomed.unwrap_or(Why::Lost);
            self.orders.push_back(Do::Finish(op, Err(why)));
        }
    }

    fn tick(&mut self) {
        let late = self.flights.iter().filter(|(_, flight)| {
            let over = flight.deadline <= self.now;
            over && flight.doomed.is_none()
        });
        let late: Vec<OpId> = late.map(|(&op, _)| op).collect();
        for op in late {
            self.doom(op, Why::Overdue);
            for path in 0..self.paths.len() {
                let carries = self.paths[path].posted.iter().any(|&(_, of, _)| of == op);
                if carries {
                    self.close(path, false);
                }
            }
        }
    }

    /// An operation will fail, as soon as nothing of it is under way.
    fn doom(&mut self, op: OpId, why: Why) {
        self.ready.retain(|(of, _)| *of != op);
        self.answered(op, |_, flight| {
            flight.parked.clear();
            flight.doomed.get_or_insert(why);
            true
        });
    }

    /// Changes a flight; ends it if `change` says that it is over, or if it is doomed and nothing is under way.
    fn answered(&mut self, op: OpId, change: impl FnOnce(&mut Self, &mut Flight) -> bool) {
        let Some(mut flight) = self.flights.remove(&op) else {
            return;
        };
        if !change(self, &mut flight) {
            return;
        }
        match flight.doomed {
            Some(why) if flight.out == 0 => self.orders.push_back(Do::Finish(op, Err(why))),
            _ => {
                self.flights.insert(op, flight);
            }
        }
    }
}

impl Path {
    pub(super) fn post(&mut self, op: OpId, part: Part) -> u64 {
        let number = self.next;
        self.next += 1;
        self.posted.push_back((number, op, part));
        number
    }
}

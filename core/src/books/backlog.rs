//! Jobs that are held, a line for each class, and when the first of each line has to go at the latest.
//!
//! All jobs of a class have the same time, so the line is in order of arrival. A job may wait until its own latest
//! time, or until the job after it could no longer follow at the class's pace, whichever is sooner; counted from the
//! last one backwards. So the first one's time says whether all can be done, and a thousand jobs that are due together
//! begin to go long before that. What changes at the end moves only those times that it touches.
//!
//! A job that went because it had to takes its class's pace too: nothing is taken in that would have to go before the
//! next one may. So however many jobs come, those that go because they have to are no more than the class's share.
//!
//! Not here: what the pace is, and who goes when. A job keeps its block list in its slot, so that lists are used again.

use crate::ids::{BlockHash, ClassId, RequestId, Ticket};
use crate::map::Map;
use crate::units::{Nanos, Tokens};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A job.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Whose.
    pub ticket: Ticket,
    /// When it came.
    pub arrived: Nanos,
    /// Prompt length.
    pub input: Tokens,
    /// The true answer length, for the oracle alone.
    pub answer: Option<Tokens>,
    /// Its class.
    pub class: ClassId,
    /// When it would have to go if it were alone.
    pub latest: Nanos,
    /// How long after it the next one of its class may go: its work at the pace of the class.
    pub pace: Nanos,
}

/// A place in a line.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    latest: Nanos,
    pace: Nanos,
    /// When it has to go, because of those after it; in nanoseconds, before zero if that is impossible.
    go_by: i128,
}

/// The jobs of a class.
#[derive(Debug, Default)]
struct Line {
    places: VecDeque<Place>,
    /// When the next one may go because it has to.
    next: i128,
}

/// The jobs of all classes that are held.
#[derive(Debug)]
pub struct Backlog {
    lines: Vec<Line>,
    jobs: Vec<(Job, Vec<BlockHash>)>,
    free: Vec<u32>,
    slot_of: Map<u32>,
}

impl Backlog {
    /// None, of so many classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self {
            lines: (0..classes).map(|_| Line::default()).collect(),
            jobs: Vec::new(),
            free: Vec::new(),
            slot_of: Map::with_capacity(16),
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slot_of.len()
    }

    /// True if none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if the request is held.
    #[must_use]
    pub fn holds(&self, request: RequestId) -> bool {
        self.slot_of.get(request.0).is_some()
    }

    /// Takes a job in behind those of its class; false, and nothing happened, if then not all could go in time.
    pub fn hold(&mut self, now: Nanos, job: Job, blocks: &[BlockHash]) -> bool {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.jobs.push((job, Vec::new()));
            self.free.reserve(self.jobs.len());
            self.slot_of.keep_room_for(self.jobs.len());
            self.jobs.len() as u32 - 1
        });
        let (place, list) = &mut self.jobs[slot as usize];
        *place = job;
        list.clear();
        list.extend_from_slice(blocks);
        self.slot_of.insert_new(job.ticket.request.0, slot);
        let line = &mut self.lines[job.class.index()];
        line.places.push_back(Place {
            slot,
            latest: job.latest,
            pace: job.pace,
            go_by: i128::from(job.latest.0),
        });
        line.settle(line.places.len() - 1);
        let earliest = line.next.max(i128::from(now.0));
        let first = line.places.front();
        let in_time = first.is_some_and(|first| first.go_by >= earliest);
        if !in_time {
            self.strike(job.ticket.request);
        }
        in_time
    }

    /// The job that has to go before all others, and whether it has to now; of two, that of the class with the higher
    /// priority.
    #[must_use]
    pub fn first(&self, now: Nanos) -> Option<(Job, bool)> {
        let fronts = self.lines.iter().filter_map(|line| line.places.front());
        let first = fronts.min_by_key(|place| place.go_by)?;
        let due = i128::from(now.0) >= first.go_by;
        Some((self.jobs[first.slot as usize].0, due))
    }

    /// The first job of a class went because it had to.
    pub fn went(&mut self, class: ClassId) {
        let line = &mut self.lines[class.index()];
        let first = line.places.front().expect("who went stood in line");
        line.next = line.next.max(first.go_by + i128::from(first.pace.0));
    }

    /// Takes the block list out of a job that is held.
    pub fn take_blocks(&mut self, request: RequestId) -> Vec<BlockHash> {
        let slot = self.slot_of.get(request.0).expect("the job is held");
        core::mem::take(&mut self.jobs[slot as usize].1)
    }

    /// Puts it back.
    pub fn put_blocks(&mut self, request: RequestId, blocks: Vec<BlockHash>) {
        let slot = self.slot_of.get(request.0).expect("the job is held");
        self.jobs[slot as usize].1 = blocks;
    }

    /// Forgets a job; false if it is not here.
    pub fn strike(&mut self, request: RequestId) -> bool {
        let Some(slot) = self.slot_of.remove(request.0) else {
            return false;
        };
        let line = &mut self.lines[self.jobs[slot as usize].0.class.index()];
        let place = line.places.iter().position(|place| place.slot == slot);
        let place = place.expect("who is held stands in line");
        line.places.remove(place);
        line.settle(place);
        self.free.push(slot);
        true
    }

    /// Asserts that none is held.
    pub fn assert_empty(&self) {
        assert_eq!(self.len(), 0, "no job is held");
        let mut lines = self.lines.iter();
        assert!(lines.all(|line| line.places.is_empty()), "lines are empty");
        assert_eq!(self.free.len(), self.jobs.len(), "all slots are free");
    }
}

impl Line {
    /// Those before `end` wait no longer than those from there on allow.
    fn settle(&mut self, end: usize) {
        for i in (0..end).rev() {
            let after = self.places.get(i + 1).map(|next| next.go_by);
            let place = &mut self.places[i];
            let latest = i128::from(place.latest.0);
            let pace = i128::from(place.pace.0);
            let go_by = after.map_or(latest, |after| latest.min(after - pace));
            if go_by == place.go_by {
                return;
            }
            place.go_by = go_by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(request: u64, latest: u64, pace: u64) -> Job {
        Job {
            ticket: Ticket {
                request: RequestId(request),
                attempt: 0,
            },
            arrived: Nanos::ZERO,
            input: Tokens(1),
            answer: None,
            class: ClassId(0),
            latest: Nanos(latest),
            pace: Nanos(pace),
        }
    }

    /// Who is first, and when it has to go.
    fn first(backlog: &Backlog) -> (u64, u64) {
        let due = |&now: &u64| backlog.first(Nanos(now)).is_some_and(|first| first.1);
        let (job, _) = backlog.first(Nanos::ZERO).expect("jobs are held");
        let now = (0..1_000).find(due).expect("it has to go some time");
        (job.ticket.request.0, now)
    }

    #[test]
    fn who_is_due_together_goes_one_after_the_other_and_too_many_are_not_taken() {
        let mut backlog = Backlog::new(1);
        for (request, go_by) in [(1, 100), (2, 70), (3, 40), (4, 10)] {
            assert!(backlog.hold(Nanos(5), job(request, 100, 30), &[]));
            assert_eq!(first(&backlog), (1, go_by));
        }
        let one_too_many = job(5, 100, 30);
        assert!(!backlog.hold(Nanos::ZERO, one_too_many, &[]));
        assert_eq!(first(&backlog), (1, 10), "as if it had never come");
        assert!(backlog.strike(RequestId(3)));
        assert_eq!(first(&backlog), (1, 40), "there is time again");
        assert!(!backlog.hold(Nanos(41), job(6, 500, 30), &[]), "late");
        backlog.went(ClassId(0));
        assert!(backlog.strike(RequestId(1)) && !backlog.strike(RequestId(1)));
        assert_eq!(first(&backlog), (2, 70), "the next goes its pace later");
        assert!(!backlog.hold(Nanos(41), job(7, 100, 30), &[]), "the pace");
        assert!(backlog.holds(RequestId(2)) && !backlog.holds(RequestId(1)));
        assert!(backlog.strike(RequestId(2)) && backlog.strike(RequestId(4)));
        backlog.assert_empty();
    }
}

//! Paths that fail at any time: told by hand, and drawn at random beside a driver that keeps accounts.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const RULES: Rules = Rules {
    depth: 4,
    tries: 3,
    pause: Duration::from_millis(10),
};
const SOON: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn orders(machine: &mut Paths) -> Vec<Do> {
    std::iter::from_fn(|| machine.order()).collect()
}

fn submit(machine: &mut Paths, op: u64, slices: usize, notice: Notice) {
    submit_at(machine, ms(0), op, slices, notice);
}

fn submit_at(machine: &mut Paths, now: Duration, op: u64, slices: usize, notice: Notice) {
    let event = Event::Submitted {
        op: OpId(op),
        slices,
        notice,
        deadline: SOON,
    };
    machine.handle(now, event);
}

fn posts(orders: &[Do]) -> Vec<(usize, u64, Part)> {
    let of = |order: &Do| match *order {
        Do::Post {
            path, number, part, ..
        } => Some((path, number, part)),
        _ => None,
    };
    orders.iter().filter_map(of).collect()
}

#[test]
fn one_slice_opens_one_path_and_many_go_over_all_of_the_best_rank() {
    let mut machine = Paths::new([0, 0, 1], RULES);
    submit(&mut machine, 1, 1, Notice::Wire);
    assert_eq!(orders(&mut machine), [Do::Open(0)]);
    machine.handle(ms(1), Event::Opened(0));
    assert_eq!(posts(&orders(&mut machine)), [(0, 0, Part::Only)]);
    submit(&mut machine, 2, 6, Notice::Wire);
    let now = orders(&mut machine);
    assert_eq!(now[0], Do::Open(1), "the second NIC, not the far one");
    machine.handle(ms(2), Event::Opened(1));
    let later = orders(&mut machine);
    let both: Vec<usize> = posts(&now)
        .iter()
        .chain(&posts(&later))
        .map(|p| p.0)
        .collect();
    assert_eq!(both, [0, 0, 0, 1, 1, 1], "at most four on each");
    machine.handle(ms(3), Event::Completed(0, 3));
    assert_eq!(orders(&mut machine), [Do::Finish(OpId(1), Ok(()))]);
    machine.handle(ms(3), Event::Completed(1, 2));
    assert_eq!(
        posts(&orders(&mut machine)),
        [(0, 4, Part::Notice)],
        "behind all slices"
    );
    machine.handle(ms(4), Event::Completed(0, 4));
    assert_eq!(orders(&mut machine), [Do::Finish(OpId(2), Ok(()))]);
    assert!(machine.is_idle());
}

#[test]
fn a_failed_path_is_closed_before_its_slices_go_elsewhere_and_probed_before_it_is_used() {
    let mut machine = Paths::new([0, 1], RULES);
    submit(&mut machine, 1, 3, Notice::None);
    machine.handle(ms(0), Event::Opened(0));
    orders(&mut machine);
    machine.handle(ms(5), Event::Failed(0, 1, Failure::Path));
    assert_eq!(orders(&mut machine), [Do::Close(0)], "nothing moves yet");
    machine.handle(ms(6), Event::Closed(0));
    assert_eq!(orders(&mut machine), [Do::Open(1)]);
    machine.handle(ms(7), Event::Opened(1));
    let again = posts(&orders(&mut machine));
    let slices = [Part::Slice(1), Part::Slice(2)];
    assert_eq!(again.iter().map(|p| p.2).collect::<Vec<_>>(), slices);
    // When it has rested, the first path is opened again, and proves itself before it carries anything.
    machine.handle(ms(16), Event::Completed(1, 1));
    assert_eq!(orders(&mut machine), [Do::Finish(OpId(1), Ok(()))]);
    submit_at(&mut machine, ms(17), 2, 1, Notice::None);
    let now = orders(&mut machine);
    assert!(
        now.contains(&Do::Open(0)) && posts(&now)[0].0 == 1,
        "{now:?}"
    );
    machine.handle(ms(18), Event::Opened(0));
    assert_eq!(posts(&orders(&mut machine)), [(0, 3, Part::Probe)]);
    machine.handle(ms(19), Event::Completed(1, 2));
    submit_at(&mut machine, ms(19), 3, 1, Notice::None);
    assert_eq!(posts(&orders(&mut machine))[0].0, 1);
    machine.handle(ms(20), Event::Completed(0, 3));
    submit_at(&mut machine, ms(20), 4, 1, Notice::None);
    assert_eq!(posts(&orders(&mut machine))[0].0, 0, "the near one again");
}

#[test]
fn a_refused_slice_asks_for_the_key_and_others_go_on() {
    let mut machine = Paths::new([0], RULES);
    submit(&mut machine, 1, 1, Notice::None);
    machine.handle(ms(0), Event::Opened(0));
    submit(&mut machine, 2, 2, Notice::None);
    orders(&mut machine);
    machine.handle(ms(1), Event::Failed(0, 0, Failure::Access));
    assert_eq!(orders(&mut machine), [Do::Close(0), Do::Confirm(OpId(1))]);
    machine.handle(ms(2), Event::Closed(0));
    assert_eq!(
        orders(&mut machine),
        [Do::Open(0)],
        "at once: the path is not to blame"
    );
    machine.handle(ms(3), Event::Opened(0));
    assert_eq!(
        posts(&orders(&mut machine)).len(),
        2,
        "those of the other operation"
    );
    machine.handle(ms(4), Event::Confirmed(OpId(1), false));
    assert_eq!(
        orders(&mut machine),
        [Do::Finish(OpId(1), Err(Why::Refused))]
    );
    machine.handle(ms(5), Event::Completed(0, 4));
    assert_eq!(orders(&mut machine), [Do::Finish(OpId(2), Ok(()))]);
}

#[test]
fn an_overdue_operation_ends_when_its_path_is_closed() {
    let mut machine = Paths::new([0], RULES);
    submit(&mut machine, 1, 2, Notice::None);
    machine.handle(ms(0), Event::Opened(0));
    orders(&mut machine);
    assert_eq!(machine.wake(), Some(SOON));
    machine.handle(SOON, Event::Tick);
    assert_eq!(orders(&mut machine), [Do::Close(0)]);
    machine.handle(SOON, Event::Closed(0));
    assert_eq!(
        orders(&mut machine),
        [Do::Finish(OpId(1), Err(Why::Overdue))]
    );
    assert!(machine.is_idle() && machine.wake().is_none());
}

#[test]
fn when_no_path_can_be_opened_operations_fail_before_their_deadlines() {
    let mut machine = Paths::new([0, 1], RULES);
    submit(&mut machine, 1, 1, Notice::None);
    let mut now = ms(0);
    for _ in 0..100 {
        for order in orders(&mut machine) {
            match order {
                Do::Open(path) => machine.handle(now, Event::OpenFailed(path)),
                Do::Finish(op, ended) => {
                    assert_eq!((op, ended), (OpId(1), Err(Why::NoPath)));
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        now += ms(10);
        machine.handle(now, Event::Tick);
    }
    panic!("it never ended");
}

/// What a driver knows: which parts are on which path, and which operations have ended.
#[derive(Default)]
struct Accounts {
    on: BTreeMap<usize, VecDeque<(u64, OpId, String)>>,
    opening: BTreeSet<usize>,
    closing: BTreeSet<usize>,
    asked: Vec<Event>,
    ended: BTreeMap<OpId, Result<(), Why>>,
    landed: BTreeMap<OpId, BTreeSet<String>>,
}

impl Accounts {
    fn carry_out(&mut self, machine: &mut Paths) {
        for order in orders(machine) {
            match order {
                Do::Open(path) => {
                    let fresh = !self.on.contains_key(&path) && !self.closing.contains(&path);
                    assert!(fresh && self.opening.insert(path), "opened twice");
                }
                Do::Close(path) => {
                    let open = self.on.contains_key(&path);
                    assert!(open && self.closing.insert(path), "closed twice");
                }
                Do::Post {
                    path,
                    number,
                    op,
                    part,
                } => {
                    let part = format!("{part:?}");
                    let twice = self.on.values().flatten();
                    let twice = twice.filter(|(_, of, p)| *of == op && *p == part);
                    assert!(
                        part == "Probe" || twice.count() == 0,
                        "in two places: {op:?} {part}"
                    );
                    assert!(!self.ended.contains_key(&op), "posted after its end");
                    assert!(!self.closing.contains(&path), "posted on a closing path");
                    let queue = self.on.get_mut(&path).expect("open");
                    assert!(queue.len() < RULES.depth, "too deep");
                    queue.push_back((number, op, part));
                }
                Do::Tell(op) => self.asked.push(Event::Told(op)),
                Do::Confirm(op) => self.asked.push(Event::Confirmed(op, true)),
                Do::Finish(op, ended) => {
                    let under_way = self.on.values().flatten().any(|(_, of, _)| *of == op);
                    assert!(!under_way, "ended while something of it is under way");
                    assert_eq!(self.ended.insert(op, ended), None, "ended twice");
                }
            }
        }
    }

    fn complete(&mut self, path: usize, count: usize) -> Option<u64> {
        let queue = self
            .on
            .get_mut(&path)
            .filter(|_| !self.closing.contains(&path))?;
        let mut last = None;
        for _ in 0..count.min(queue.len()) {
            let (number, op, part) = queue.pop_front()?;
            self.landed.entry(op).or_default().insert(part);
            last = Some(number);
        }
        last
    }
}

proptest! {
    #[test]
    fn every_operation_ends_once_and_never_with_something_under_way(
        steps in prop::collection::vec((0u8..12, 0usize..4, 0usize..6, 1u64..40), 1..150),
    ) {
        let mut machine = Paths::new([0, 0, 1, 2], RULES);
        let (mut accounts, mut now, mut last) = (Accounts::default(), ms(0), 0);
        let mut wanted: BTreeMap<OpId, usize> = BTreeMap::new();
        for (what, path, count, wait) in steps {
            now += ms(wait);
            let event = match what {
                0..=2 => {
                    last += 1;
                    let notice = [Notice::None, Notice::Wire, Notice::Connection][path % 3];
                    wanted.insert(OpId(last), count);
                    let deadline = now + ms(40 * wait);
                    Some(Event::Submitted { op: OpId(last), slices: count, notice, deadline })
                }
                3 | 4 if accounts.opening.remove(&path) => {
                    accounts.on.insert(path, VecDeque::new());
                    Some(Event::Opened(path))
                }
                5 if accounts.opening.remove(&path) => Some(Event::OpenFailed(path)),
                6 | 7 => accounts.complete(path, count).map(|number| Event::Completed(path, number)),
                8 => {
                    accounts.complete(path, count);
                    let closing = accounts.closing.contains(&path);
                    let queue = accounts.on.get(&path).filter(|_| !closing);
                    let failure = [Failure::Access, Failure::Path][count % 2];
                    queue.and_then(|q| q.front()).map(|front| Event::Failed(path, front.0, failure))
                }
                9 if accounts.closing.remove(&path) => {
                    accounts.on.remove(&path);
                    Some(Event::Closed(path))
                }
                10 => accounts.asked.pop(),
                11 => Some(Event::Evict(path)),
                _ => None,
            };
            machine.handle(now, event.unwrap_or(Event::Tick));
            accounts.carry_out(&mut machine);
        }
        // Then all works, and everything that has not been given up is done or overdue.
        for _ in 0..2000 {
            if machine.is_idle() {
                break;
            }
            now = machine.wake().map_or(now, |wake| wake.max(now)).min(now + ms(1));
            for path in 0..4 {
                if accounts.closing.remove(&path) {
                    accounts.on.remove(&path);
                    machine.handle(now, Event::Closed(path));
                } else if accounts.opening.remove(&path) {
                    accounts.on.insert(path, VecDeque::new());
                    machine.handle(now, Event::Opened(path));
                } else if let Some(number) = accounts.complete(path, usize::MAX) {
                    machine.handle(now, Event::Completed(path, number));
                }
                accounts.carry_out(&mut machine);
            }
            while let Some(event) = accounts.asked.pop() {
                machine.handle(now, event);
                accounts.carry_out(&mut machine);
            }
            machine.handle(now, Event::Tick);
            accounts.carry_out(&mut machine);
        }
        prop_assert!(machine.is_idle(), "{machine:?}");
        prop_assert_eq!(accounts.ended.len(), wanted.len());
        for (op, slices) in wanted {
            if accounts.ended[&op] == Ok(()) {
                let landed = accounts.landed.get(&op);
                let count = landed.map_or(0, |parts| parts.iter().filter(|p| *p != "Notice").count());
                prop_assert_eq!(count, slices, "done, and all of it has landed");
            }
        }
    }
}

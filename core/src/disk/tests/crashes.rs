//! Any crash point of a random history recovers what was persisted, and nothing that was
//! never there.

use core::ops::ControlFlow;

use fastrand::Rng;

use super::*;

const ROUNDS: u64 = 400;

/// What a server may be at: the states that its actions lead to, one after the other.
struct Model {
    rng: Rng,
    number: u32,
    /// After each ticket: the history, and how short a truncation may have left it.
    states: Vec<(Ticket, History)>,
    epochs: Vec<(Ticket, EpochFile, i64)>,
    /// A truncation whose outcome is awaited before anything else is done, as a learner does.
    truncation: Option<(Ticket, Zxid)>,
}

impl Model {
    /// The outcome of a truncation: behind the oldest snapshot nothing is cut.
    fn settle(&mut self, events: &[DiskEvent<History>]) {
        let Some((ticket, after)) = self.truncation else { return };
        let recovered = events.iter().find_map(|event| match event {
            DiskEvent::Recovered(recovered) if recovered.ticket == ticket => Some(recovered),
            _other => None,
        });
        let Some(recovered) = recovered else { return };
        self.truncation = None;
        if recovered.last_zxid > after {
            self.states.pop();
            assert_eq!(recovered.state, self.now(), "a truncation that is refused changes nothing");
        }
    }

    fn now(&self) -> History {
        self.states.last().map(|(_, history)| history.clone()).unwrap_or_default()
    }
    fn last_zxid(&self) -> Zxid {
        self.now().all.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }
    fn entry(&mut self, zxid: Zxid) -> Entry {
        self.number += 1;
        entry(zxid, self.number, self.rng.usize(..300))
    }
}

/// Submits one thing at random.
fn act(server: &mut Server, model: &mut Model) {
    model.settle(&server.events);
    if model.truncation.is_some() {
        return;
    }
    match model.rng.u32(..20) {
        0 => {
            // A new epoch: accepted, then its first transaction, then current.
            let epoch =
                Epoch(model.last_zxid().epoch().0.max(epoch(model, EpochFile::Accepted)) + 1);
            for file in [EpochFile::Accepted, EpochFile::Current] {
                let ticket = server.save_epoch(file, epoch.0);
                model.epochs.push((ticket, file, epoch.0));
                if file == EpochFile::Accepted && model.rng.bool() {
                    append(server, model, Zxid::new(epoch, 1));
                }
            }
        }
        1 => local_snapshot(server, model),
        2 => leaders_snapshot(server, model),
        3 => {
            let all = model.now().all;
            if let Some(keep) = all.len().checked_sub(1 + model.rng.usize(..4)).filter(|n| *n > 0) {
                let (ticket, after) = (server.ticket.take(), all[keep - 1].0);
                server.disk.submit(DiskAction::Truncate { ticket, after });
                model.truncation = Some((ticket, after));
                model.states.push((ticket, History { all: all[..keep].to_vec() }));
            }
        }
        4 => server.disk.purge_due(),
        _more => {
            let next = model.last_zxid().next();
            append(server, model, next);
        }
    }
}

/// Some at once: a crash may leave the first ones of them.
fn append(server: &mut Server, model: &mut Model, mut zxid: Zxid) {
    let ticket = server.ticket.take();
    let mut batch = Vec::new();
    for _ in 0..model.rng.usize(1..=3) {
        batch.push(model.entry(zxid));
        let mut history = model.now();
        history.all.push((zxid, model.number));
        model.states.push((ticket, history));
        zxid = zxid.next();
    }
    let entries = Entries::gather(&batch).next().unwrap();
    server.disk.submit(DiskAction::Append { ticket, entries });
}

/// Of what is durable, as a node does: it snapshots what is committed.
fn local_snapshot(server: &mut Server, model: &mut Model) {
    server.drive();
    send_snapshot(server, model, model.now(), false);
}

/// Another history, of a leader of a later epoch, that shares a beginning with ours; perhaps
/// it is no more than that beginning.
fn leaders_snapshot(server: &mut Server, model: &mut Model) {
    let mut history = model.now();
    let epoch = Epoch(model.last_zxid().epoch().0.max(epoch(model, EpochFile::Accepted)) + 1);
    let ticket = server.save_epoch(EpochFile::Accepted, epoch.0);
    model.epochs.push((ticket, EpochFile::Accepted, epoch.0));
    history.all.truncate(model.rng.usize(..=history.all.len()));
    for n in 1..=model.rng.u32(..5) {
        model.number += 1;
        history.all.push((Zxid::new(epoch, n), model.number));
    }
    let ticket = send_snapshot(server, model, history.clone(), true);
    model.states.push((ticket, history));
    let ticket = server.save_epoch(EpochFile::Current, epoch.0);
    model.epochs.push((ticket, EpochFile::Current, epoch.0));
}

fn send_snapshot(
    server: &mut Server,
    model: &mut Model,
    state: History,
    from_leader: bool,
) -> Ticket {
    let zxid = state.all.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
    let mut body = BytesMut::new();
    state.encode(&mut body);
    server.disk.submit(DiskAction::SnapshotBegin { zxid, from_leader });
    while !body.is_empty() {
        let bytes = body.split_to(model.rng.usize(1..=body.len())).freeze();
        server.disk.submit(DiskAction::SnapshotChunk { bytes });
    }
    let ticket = server.ticket.take();
    let end = DiskAction::SnapshotEnd { ticket, digest: Some((zxid, 1)), last_zxid: zxid };
    server.disk.submit(end);
    ticket
}

fn epoch(model: &Model, file: EpochFile) -> i64 {
    model.epochs.iter().rev().find(|(_, f, _)| *f == file).map_or(0, |(_, _, epoch)| *epoch)
}

/// Executes at most `ops` operations.
fn drive_some(server: &mut Server, mut ops: usize) -> ControlFlow<()> {
    while let Some(op) = server.disk.next_op(&mut server.events) {
        let completion = server.files.execute(&op);
        if ops == 0 {
            return ControlFlow::Break(());
        }
        ops -= 1;
        server.disk.complete(completion, &mut server.events);
    }
    ControlFlow::Continue(())
}

/// Boots, possibly crashing again and again while recovering.
fn reboot(files: MemoryFiles, rng: &mut Rng, reorder: bool) -> Server {
    let mut files = files;
    loop {
        let compression = match rng.u32(..4) {
            0 => Compression::Gzip,
            1 => Compression::Snappy,
            _more => Compression::None,
        };
        let disk = Disk::new(DiskOptions { compression, ..options() }, ());
        let mut server = Server { disk, files, ticket: Ticket(0), events: Vec::new() };
        let patience = if rng.u32(..3) == 0 { rng.usize(..40) } else { usize::MAX };
        if drive_some(&mut server, patience).is_continue() {
            return server;
        }
        files = server.files;
        files.crash(rng, reorder);
    }
}

fn check(recovered: &Recovered<History>, model: &Model, persisted: Ticket, seed: u64) {
    let durable = model.states.iter().rposition(|(ticket, _)| *ticket <= persisted).unwrap_or(0);
    let state = &recovered.state;
    let fits = model.states.iter().enumerate().skip(durable).any(|(i, (_, history))| {
        // A truncation that was under way leaves the old history up to some point.
        let is_between = i > durable
            && model.states[i - 1].1.all.starts_with(&state.all)
            && state.all.starts_with(&history.all);
        history == state || is_between
    });
    let expected = &model.states[durable].1;
    assert!(fits, "seed {seed}: persisted {expected:?}, recovered {state:?}");
    assert_eq!(
        recovered.last_zxid,
        state.all.last().map_or(Zxid::ZERO, |(z, _)| *z),
        "seed {seed}"
    );
    for file in [EpochFile::Accepted, EpochFile::Current] {
        let of_file = model.epochs.iter().filter(|(_, f, _)| *f == file);
        let least = of_file.filter(|(t, _, _)| *t <= persisted).map(|e| e.2).max().unwrap_or(0);
        let found = match file {
            EpochFile::Accepted => recovered.accepted_epoch,
            EpochFile::Current => recovered.current_epoch,
        };
        assert!(found >= least, "seed {seed}: {file:?} {found} after {least} was persisted");
    }
    assert!(recovered.current_epoch >= recovered.last_zxid.epoch().0, "seed {seed}");
    assert!(recovered.accepted_epoch >= recovered.current_epoch, "seed {seed}");
    let tail: Vec<Zxid> = recovered.tail.iter().map(|entry| entry.zxid).collect();
    assert!(state.all.iter().rev().map(|(z, _)| *z).zip(tail.iter().rev()).all(|(a, b)| a == *b));
}

fn run(seed: u64, reorder: bool) {
    let mut rng = Rng::with_seed(seed);
    let mut files = MemoryFiles::new();
    let mut model = Model {
        rng: rng.fork(),
        number: 0,
        states: alloc::vec![(Ticket(0), History::default())],
        epochs: Vec::new(),
        truncation: None,
    };
    for _life in 0..6 {
        let mut server = reboot(files, &mut rng, reorder);
        let Some(DiskEvent::Recovered(recovered)) =
            server.events.iter().rev().find(|event| !matches!(event, DiskEvent::Recovering(_)))
        else {
            panic!("seed {seed}: {:?}", server.events)
        };
        // The states so far end in what was recovered.
        model.states = alloc::vec![(Ticket(0), recovered.state.clone())];
        model.epochs = alloc::vec![
            (Ticket(0), EpochFile::Accepted, recovered.accepted_epoch),
            (Ticket(0), EpochFile::Current, recovered.current_epoch),
        ];
        model.truncation = None;
        server.events.clear();
        for _turn in 0..rng.usize(1..60) {
            for _ in 0..rng.usize(..4) {
                act(&mut server, &mut model);
            }
            let ops = if rng.u32(..15) == 0 { rng.usize(..40) } else { usize::MAX };
            if drive_some(&mut server, ops).is_break() {
                break;
            }
        }
        if let Some(DiskEvent::Failed(fault)) = server.events.last() {
            panic!("seed {seed}: {fault:?}");
        }
        model.settle(&server.events);
        let persisted = server.persisted();
        files = server.files;
        // The process alone may be gone: what it had not synced is still there, for now.
        if rng.u32(..3) > 0 {
            files.crash(&mut rng, reorder);
        }
        let again = reboot(files.clone(), &mut rng, reorder);
        let recovered = match again.events.last() {
            Some(DiskEvent::Recovered(recovered)) => recovered,
            other => panic!("seed {seed}: {other:?}"),
        };
        check(recovered, &model, persisted, seed);
        files = again.files;
        files.crash(&mut rng, reorder);
        let once_more = reboot(files, &mut rng, reorder);
        match once_more.events.last() {
            Some(DiskEvent::Recovered(later)) => {
                assert_eq!(later.state, recovered.state, "seed {seed}: it was not durable");
                let epochs = (later.current_epoch, later.accepted_epoch);
                let before = (recovered.current_epoch, recovered.accepted_epoch);
                assert_eq!(epochs, before, "seed {seed}: not durable");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
        files = once_more.files;
    }
}

#[test]
fn any_crash_point_recovers_what_was_persisted() {
    (0..ROUNDS).for_each(|seed| run(seed, false));
}

#[test]
fn any_crash_point_recovers_also_when_sectors_are_lost_out_of_order() {
    (ROUNDS..2 * ROUNDS).for_each(|seed| run(seed, true));
}

//! The bounded queue between the threads that log and the one thread that writes.
//!
//! A line is copied into the queue under a short lock; a system call is made only when the thread
//! sleeps, so at most once for each batch. Nothing that logs waits for standard error. What cannot
//! be written is tried again until it can: lines are lost only where the queue is full, and then
//! they are counted. A line that must not be lost is taken even then; anyone who logs such lines
//! asks [`Queue::has_room`] before it starts what the line will tell of.

use std::{
    fmt,
    io::{self, Write},
    mem,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// The most lines that wait, however short they are.
const MAX_LINES: usize = 65_536;
/// How long the thread waits after a batch before it takes the next, so that under load a batch has
/// many lines: waking it costs as much as a dozen lines.
const LINGER: Duration = Duration::from_millis(10);
/// The thread is not to be woken: it is at work, or has been told already.
const AWAKE: usize = usize::MAX;
/// The most bytes given to the system at once: a slow reader makes room in steps of this size.
const CHUNK: usize = 64 * 1024;
/// How long the thread waits after an error before it tries again.
const RETRY: Duration = Duration::from_millis(100);
/// A buffer larger than this is given back once it is empty.
const KEPT: usize = 256 * 1024;

/// What a line is, as far as its loss is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record of the audit whose request was let in because there was room: never refused.
    Admitted,
    /// Any other record of the audit.
    Audit,
    /// Everything else.
    Other,
}

/// Lines on their way to a writer.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the thread.
    work: Condvar,
    /// Wakes the tasks that wait until all is written.
    drained: Condvar,
    /// Wakes the tasks that wait for room.
    room: Notify,
    max_bytes: usize,
    linger: Duration,
    /// Bytes that are not written yet, those the thread has taken included.
    unwritten: AtomicUsize,
    /// Whether the last attempt to write failed.
    failing: AtomicBool,
    lost_audit: AtomicU64,
    lost_other: AtomicU64,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    count: usize,
    /// How many bytes of lines wake the thread: one while there is nothing to do, many while it
    /// lets a batch grow, [`AWAKE`] otherwise.
    wake_at: usize,
    /// How many wait until all is written.
    flushing: usize,
}

impl Queue {
    /// An empty queue for about `max_bytes` bytes of lines.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            drained: Condvar::new(),
            room: Notify::new(),
            max_bytes,
            linger: LINGER,
            unwritten: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            lost_audit: AtomicU64::new(0),
            lost_other: AtomicU64::new(0),
        }
    }

    /// For how many bytes of lines there is room.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Takes a line, its line break included; `false` when it is lost.
    pub(super) fn push(&self, kind: Kind, line: &[u8]) -> bool {
        let mut state = self.lock();
        let fits = state.count < MAX_LINES && self.unwritten() + line.len() <= self.max_bytes;
        if !fits && kind != Kind::Admitted {
            drop(state);
            self.count_lost(kind);
            return false;
        }
        state.lines.extend_from_slice(line);
        state.count += 1;
        self.unwritten.fetch_add(line.len(), Relaxed);
        let wakes = state.lines.len() >= state.wake_at;
        if wakes {
            state.wake_at = AWAKE;
        }
        drop(state);
        if wakes {
            self.work.notify_one();
        }
        true
    }

    /// Whether a line of an ordinary length would be taken now.
    pub(super) fn has_room(&self) -> bool {
        self.unwritten() < self.max_bytes
    }

    /// Ends when there is room.
    pub(super) async fn room(&self) {
        loop {
            let mut notified = std::pin::pin!(self.room.notified());
            // From here on no room that is made is missed.
            notified.as_mut().enable();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }

    /// Waits until all is written; `false` when it is not after `within`, or cannot be.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let mut state = self.lock();
        state.flushing += 1;
        state.wake_at = AWAKE;
        self.work.notify_one();
        let unfinished = |_: &mut State| self.unwritten() > 0 && !self.failing.load(Relaxed);
        let waited = self.drained.wait_timeout_while(state, within, unfinished);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.flushing -= 1;
        self.unwritten() == 0
    }

    /// Wakes the thread for something other than a line.
    pub(super) fn wake(&self) {
        self.lock().wake_at = AWAKE;
        self.work.notify_one();
    }

    /// Bytes that wait to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten.load(Relaxed)
    }

    pub(super) fn count_lost(&self, kind: Kind) {
        let lost = if kind == Kind::Other { &self.lost_other } else { &self.lost_audit };
        lost.fetch_add(1, Relaxed);
    }

    /// How many records of the audit and how many others were lost.
    pub(super) fn lost(&self) -> (u64, u64) {
        (self.lost_audit.load(Relaxed), self.lost_other.load(Relaxed))
    }

    /// The thread: writes what comes, forever. `chores` is done between batches, and says when it
    /// wants to be done again at the latest; what it logs goes into this queue like everything
    /// else.
    pub(super) fn run(&self, mut to: impl Write, mut chores: impl FnMut() -> Option<Duration>) {
        let mut batch = Vec::new();
        loop {
            let again = chores();
            self.take(&mut batch, again);
            self.write(&mut to, &batch);
            batch.clear();
            batch.shrink_to(KEPT);
            let mut state = self.lock();
            if state.flushing > 0 {
                self.drained.notify_all();
            } else {
                // A batch may grow until it holds a quarter of what may wait: the queue is not full
                // before it is looked at.
                let enough = self.max_bytes / 4;
                state.wake_at = enough;
                let grows = |state: &mut State| state.wake_at != AWAKE && state.lines.len() < enough;
                drop(self.work.wait_timeout_while(state, self.linger, grows));
            }
        }
    }

    /// Waits for lines, at most `patience`, and takes all there are.
    fn take(&self, batch: &mut Vec<u8>, patience: Option<Duration>) {
        let mut state = self.lock();
        if state.lines.is_empty() {
            state.wake_at = 1;
            // The code that wakes the thread has said so, and so a wake-up without reason is not
            // taken for one.
            let sleeps = |state: &mut State| state.wake_at != AWAKE;
            state = match patience {
                Some(patience) => {
                    let waited = self.work.wait_timeout_while(state, patience, sleeps);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.work.wait_while(state, sleeps).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.wake_at = AWAKE;
        state.count = 0;
        mem::swap(&mut state.lines, batch);
    }

    fn write(&self, to: &mut impl Write, batch: &[u8]) {
        let mut rest = batch;
        while let Some(chunk) = rest.get(..rest.len().min(CHUNK)).filter(|chunk| !chunk.is_empty()) {
            match to.write(chunk) {
                Ok(written) if written > 0 => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.unwritten.fetch_sub(written, Relaxed);
                    self.failing.store(false, Relaxed);
                    self.room.notify_waiters();
                }
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                // A full disk is emptied, and a pipe with a name gets another reader.
                _ => {
                    self.failing.store(true, Relaxed);
                    // Under the lock, or somebody who is about to wait would miss it.
                    drop(self.lock());
                    self.drained.notify_all();
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("unwritten", &self.unwritten()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    };

    /// As long as a test waits for what must happen; a machine may be busy.
    const LONG: Duration = Duration::from_secs(30);

    /// A reader that takes what is written only when the test says how many bytes, or which error
    /// there is.
    struct Gate {
        allowed: Receiver<io::Result<usize>>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A test that has ended takes everything.
            let most = self.allowed.recv().unwrap_or(Ok(usize::MAX))?;
            let written = bytes.get(..most).unwrap_or(bytes);
            let _ = self.written.send(written.to_vec());
            Ok(written.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Log {
        queue: Arc<Queue>,
        allow: Sender<io::Result<usize>>,
        written: Receiver<Vec<u8>>,
    }

    fn log(max_bytes: usize) -> Log {
        run(Queue::new(max_bytes))
    }

    fn run(queue: Queue) -> Log {
        let queue = Arc::new(queue);
        let (allow, allowed) = channel();
        let (sender, written) = channel();
        let thread = Arc::clone(&queue);
        std::thread::spawn(move || thread.run(Gate { allowed, written: sender }, || None));
        Log { queue, allow, written }
    }

    impl Log {
        fn allow(&self, bytes: usize) {
            self.allow.send(Ok(bytes)).unwrap();
        }

        fn fail(&self, why: io::ErrorKind) {
            self.allow.send(Err(why.into())).unwrap();
        }

        fn read(&self, until: usize) -> String {
            let mut all = Vec::new();
            while all.len() < until {
                all.extend(self.written.recv_timeout(LONG).unwrap());
            }
            String::from_utf8(all).unwrap()
        }
    }

    #[test]
    fn lines_are_written_in_their_order_whatever_the_writer_takes_at_once() {
        let log = log(1 << 20);
        let lines: Vec<String> = (0..500).map(|n| format!("line {n}\n")).collect();
        for (n, line) in lines.iter().enumerate() {
            assert!(log.queue.push(Kind::Other, line.as_bytes()));
            log.allow(n % 7 + 1);
        }
        let all = lines.concat();
        for _ in 0..all.len() {
            log.allow(3);
        }
        assert_eq!(log.read(all.len()), all);
        assert!(log.queue.flush(LONG));
        assert_eq!((log.queue.unwritten(), log.queue.lost()), (0, (0, 0)));
    }

    #[test]
    fn a_writer_that_is_stuck_stops_nobody_and_what_does_not_fit_is_counted_by_kind() {
        let log = log(100);
        let line = [b'x'; 30];
        let taken = (0..5).filter(|_| log.queue.push(Kind::Other, &line)).count();
        assert_eq!(taken, 3, "90 of 100 bytes");
        assert!(!log.queue.push(Kind::Audit, &line));
        assert_eq!(log.queue.lost(), (1, 2));
        assert!(log.queue.has_room());
        assert!(log.queue.push(Kind::Admitted, &line), "what was let in is taken");
        assert!(!log.queue.has_room());
        assert!(!log.queue.flush(Duration::from_millis(20)), "the writer is stuck");
        for _ in 0..4 {
            log.allow(30);
        }
        assert_eq!(log.read(120).len(), 120);
        assert!(log.queue.flush(LONG));
        assert!(log.queue.push(Kind::Other, &line), "there is room again");
        assert_eq!(log.queue.lost(), (1, 2));
    }

    #[test]
    fn a_batch_grows_for_a_while_but_not_until_the_queue_is_full_and_not_at_the_end() {
        // Nothing but its size, or somebody who waits for the end, wakes a thread that lingers for
        // an hour.
        let log = run(Queue { linger: Duration::from_secs(3600), ..Queue::new(100) });
        for _ in 0..100 {
            log.allow(100);
        }
        for _ in 0..10 {
            assert!(log.queue.push(Kind::Audit, b"a line\n"), "there is room");
            assert!(log.queue.push(Kind::Audit, b"one that makes the batch large\n"), "there is room");
            assert_eq!(log.read(38), "a line\none that makes the batch large\n");
            while log.queue.unwritten() > 0 {
                std::thread::yield_now();
            }
        }
        assert!(log.queue.push(Kind::Audit, b"the last\n"));
        assert!(log.queue.flush(LONG));
        assert_eq!(log.read(9), "the last\n");
    }

    #[test]
    fn what_cannot_be_written_is_kept_and_written_when_it_can() {
        for why in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe, io::ErrorKind::WouldBlock] {
            let log = log(1 << 10);
            log.queue.push(Kind::Admitted, b"one line that is cut\n");
            log.allow(7);
            log.fail(why);
            log.fail(io::ErrorKind::Interrupted);
            log.fail(why);
            log.queue.push(Kind::Other, b"another\n");
            log.allow(0);
            log.allow(1 << 10);
            log.allow(1 << 10);
            assert_eq!(log.read(29), "one line that is cut\nanother\n", "{why:?}");
            // What the thread notes of it comes a moment later.
            while !log.queue.flush(LONG) {
                std::thread::yield_now();
            }
            assert_eq!(log.queue.lost(), (0, 0));
        }
    }

    #[test]
    fn nobody_waits_at_the_end_for_a_log_that_fails() {
        let log = log(1 << 10);
        log.queue.push(Kind::Other, b"a line\n");
        for _ in 0..100_000 {
            log.fail(io::ErrorKind::BrokenPipe);
        }
        assert!(!log.queue.flush(Duration::from_secs(3600)));
    }

    #[tokio::test]
    async fn whoever_waits_for_room_goes_on_when_a_part_was_written() {
        let log = log(100);
        assert!(log.queue.push(Kind::Other, &[b'x'; 100]));
        assert!(!log.queue.has_room());
        let (queue, other) = (Arc::clone(&log.queue), Arc::clone(&log.queue));
        let waiting = tokio::spawn(async move { queue.room().await });
        let also = tokio::spawn(async move { other.room().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !also.is_finished());
        log.allow(1);
        waiting.await.unwrap();
        also.await.unwrap();
        log.queue.room().await;
    }

    #[test]
    fn many_threads_lose_nothing_that_fits() {
        let log = log(1 << 24);
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let queue = Arc::clone(&log.queue);
                std::thread::spawn(move || {
                    for n in 0..2_000 {
                        assert!(queue.push(Kind::Admitted, format!("{thread} {n}\n").as_bytes()));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(log.allow);
        assert!(log.queue.flush(LONG));
        let text = String::from_utf8(log.written.try_iter().flatten().collect()).unwrap();
        for thread in 0..8 {
            let mine: Vec<&str> =
                text.lines().filter_map(|line| line.strip_prefix(&format!("{thread} "))).collect();
            assert!(mine.iter().enumerate().all(|(n, line)| *line == n.to_string()), "in order");
            assert_eq!(mine.len(), 2_000);
        }
    }
}

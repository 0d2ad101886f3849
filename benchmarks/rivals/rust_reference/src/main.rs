//! The reference design's delivery in Rust, on the workloads `tell` and `ask`: `rustref WORKLOAD SIZE`.
//!
//! One bounded channel into the manager, a task for each message, agents found in a concurrent map, shared state behind
//! a lock, and JSON values as content; on one thread, as asyncio is. It has no mailboxes, so a slow agent holds up
//! nobody and its messages are in no order; and no retries, timeouts or supervision. An answer finds its asker by the
//! number of the request. It prints what `measure.py` prints: microseconds of CPU and of wall time for an operation.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use dashmap::DashMap;
use serde_json::{json, Value};
use tokio::sync::{mpsc, oneshot, Mutex, Notify};

const CHANNEL_SIZE: usize = 100;

type Failure = Box<dyn Error + Send + Sync>;
type SharedState = Arc<Mutex<HashMap<String, Value>>>;

#[derive(Debug)]
#[allow(dead_code)] // all of an envelope travels, whether an agent reads it or not
struct AgentMessage {
    from: String,
    to: String,
    content: Value,
    message_type: String,
}

impl AgentMessage {
    /// The message of all measured programs.
    fn numbered(number: u64, to: &str) -> Self {
        Self {
            from: "a".into(),
            to: to.into(),
            content: json!({"number": number, "text": "hello"}),
            message_type: "task".into(),
        }
    }

    fn number(&self) -> Result<u64, Failure> {
        self.content["number"].as_u64().ok_or_else(|| "the message has no number".into())
    }
}

/// What a handler is given: the way to send, and the state that all agents share.
#[allow(dead_code)]
struct AgentContext {
    sender: mpsc::Sender<AgentMessage>,
    state: SharedState,
}

#[async_trait]
trait Agent: Send + Sync {
    async fn handle_message(&self, message: AgentMessage, context: &mut AgentContext) -> Result<(), Failure>;
}

/// Counts what it is told.
struct Receiver {
    seen: AtomicU64,
    expected: u64,
    done: Notify,
}

#[async_trait]
impl Agent for Receiver {
    async fn handle_message(&self, message: AgentMessage, _: &mut AgentContext) -> Result<(), Failure> {
        message.number()?;
        if self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.expected {
            self.done.notify_one();
        }
        Ok(())
    }
}

/// Answers each request with its number.
struct Echo {
    askers: DashMap<u64, oneshot::Sender<u64>>,
}

#[async_trait]
impl Agent for Echo {
    async fn handle_message(&self, message: AgentMessage, _: &mut AgentContext) -> Result<(), Failure> {
        let number = message.number()?;
        if let Some((_, asker)) = self.askers.remove(&number) {
            let _ = asker.send(number); // an asker that no longer waits needs no answer
        }
        Ok(())
    }
}

struct AgentManager {
    sender: mpsc::Sender<AgentMessage>,
}

impl AgentManager {
    /// A manager with one agent, `b`, that delivers from now on.
    fn start(agent: Arc<dyn Agent>) -> Self {
        let agents: Arc<DashMap<String, Arc<dyn Agent>>> = Arc::default();
        agents.insert("b".into(), agent);
        let state = SharedState::default();
        let (sender, mut receiver) = mpsc::channel(CHANNEL_SIZE);
        let outgoing = sender.clone();
        tokio::spawn(async move {
            while let Some(message) = receiver.recv().await {
                tokio::spawn(deliver(message, agents.clone(), outgoing.clone(), state.clone()));
            }
        });
        Self { sender }
    }

    async fn send(&self, message: AgentMessage) {
        self.sender.send(message).await.expect("the manager runs");
    }
}

async fn deliver(
    message: AgentMessage,
    agents: Arc<DashMap<String, Arc<dyn Agent>>>,
    sender: mpsc::Sender<AgentMessage>,
    state: SharedState,
) {
    let found = agents.get(&message.to).map(|entry| entry.value().clone());
    let Some(agent) = found else { return };
    drop(state.lock().await); // the design looks at the state before it calls the handler
    let mut context = AgentContext { sender, state };
    if let Err(error) = agent.handle_message(message, &mut context).await {
        eprintln!("{error}");
    }
}

/// CPU and wall time since it was made.
struct Watch {
    cpu: f64,
    wall: Instant,
}

impl Watch {
    fn start() -> Self {
        Self { cpu: cpu_seconds(), wall: Instant::now() }
    }

    /// The figures of a workload of `size` equal operations.
    fn rate(&self, size: u64) -> Value {
        let microseconds = 1e6 / size as f64;
        json!({
            "cpu_us": (cpu_seconds() - self.cpu) * microseconds,
            "wall_us": self.wall.elapsed().as_secs_f64() * microseconds,
        })
    }
}

fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes into `time` and keeps nothing of it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "the system has no clock of the process's CPU time");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

async fn tell(size: u64) -> Value {
    let receiver = Arc::new(Receiver { seen: AtomicU64::new(0), expected: size, done: Notify::new() });
    let manager = AgentManager::start(receiver.clone());
    let watch = Watch::start();
    for number in 0..size {
        manager.send(AgentMessage::numbered(number, "b")).await;
    }
    receiver.done.notified().await;
    watch.rate(size)
}

async fn ask(size: u64) -> Value {
    let echo = Arc::new(Echo { askers: DashMap::new() });
    let manager = AgentManager::start(echo.clone());
    let watch = Watch::start();
    for number in 0..size {
        let (asker, answer) = oneshot::channel();
        echo.askers.insert(number, asker);
        manager.send(AgentMessage::numbered(number, "b")).await;
        assert_eq!(answer.await, Ok(number));
    }
    watch.rate(size)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [workload, size] = arguments.as_slice() else { panic!("usage: rustref tell|ask SIZE") };
    let size = size.parse().expect("SIZE is a whole number");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime on this thread");
    let figures = match workload.as_str() {
        "tell" => runtime.block_on(runtime.spawn(tell(size))),
        "ask" => runtime.block_on(runtime.spawn(ask(size))),
        other => panic!("there is no workload {other:?}; there are tell and ask"),
    };
    println!("{}", figures.expect("the workload has ended"));
}

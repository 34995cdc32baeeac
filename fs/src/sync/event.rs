//! Owns what the engine is told and what it asks for. Everything that can happen to it is one of these.

use crate::meta::rows::Ticket;
use crate::remote::RemoteError;
use crate::tree::QueueItem;
use std::time::Duration;
use tarn_proto::api::Answer;
use tarn_proto::change::Cursor;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Work begins, or begins again after it was held.
    Start,
    /// The queue changed.
    QueueChanged,
    /// The queue was read.
    QueueRead {
        /// Its front.
        items: Vec<QueueItem>,
    },
    /// The queue could not be read.
    QueueUnread {
        /// Why.
        reason: String,
    },
    /// A group of contents was dealt with.
    UploadEnded {
        /// Which group.
        group: u64,
        /// What became of each.
        results: Vec<(Ticket, UploadResult)>,
    },
    /// The server answered a push.
    PushAnswered {
        /// Answers by operation, in order.
        answers: Vec<(Ticket, Answer)>,
        /// Operations that were gone before they were sent.
        gone: Vec<Ticket>,
        /// See `PushResponse::before`.
        before: Option<Cursor>,
        /// See `PushResponse::after`.
        after: Option<Cursor>,
    },
    /// A push was not answered, or refused as a whole.
    PushFailed {
        /// Why.
        error: Failure,
    },
    /// Answers were applied, or could not be.
    Settled {
        /// Of which operations.
        tickets: Vec<Ticket>,
        /// Where the device stands now.
        result: Result<Standing, String>,
    },
    /// An operation has another name, or could not get one.
    Renamed {
        /// Which.
        ticket: Ticket,
        /// Why not.
        result: Result<(), String>,
    },
    /// An operation waits for room on the server, or could not be put aside.
    PutAside {
        /// Which.
        ticket: Ticket,
        /// Why not.
        result: Result<(), String>,
    },
    /// There may be something new on the server.
    PullWanted,
    /// A pull ended; where the device stands now.
    PullEnded {
        /// The seq, or why not.
        result: Result<u64, Failure>,
    },
    /// A notice: the journal is at this seq.
    Noticed {
        /// How far.
        seq: u64,
    },
    /// The notice socket stands.
    LinkOpened,
    /// The notice socket is gone, or was not opened.
    LinkLost {
        /// Why.
        error: Failure,
    },
    /// This device was revoked.
    Revoked,
    /// The device goes on under a new id, or cannot.
    IdentityRenewed {
        /// Why not.
        result: Result<(), Failure>,
    },
    /// The timer ended.
    Tick,
    /// Somebody waits for everything up to this ticket.
    WaitRequested {
        /// The last ticket that matters.
        upto: Ticket,
    },
    /// The machine's network changed.
    NetworkChanged,
    /// Work ends.
    Shutdown,
}

/// Why something failed.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The network or the server.
    Remote(RemoteError),
    /// The local disk or database.
    Local(String),
    /// What is missing here passes by itself; nothing is wrong with the network.
    NotYet(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Remote(error) => error.fmt(f),
            Self::Local(reason) => write!(f, "local state: {reason}"),
            Self::NotYet(reason) => f.write_str(reason),
        }
    }
}

/// Where a device stands after answers were applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its cursor's seq.
    pub seq: u64,
    /// Whether changes of others lie between: a pull brings them.
    pub gap: bool,
}

/// What became of one content.
#[derive(Debug, Clone)]
pub enum UploadResult {
    /// It is on the server.
    Done,
    /// The operation is gone.
    Gone,
    /// It was written to so much meanwhile that its freeze point was lost.
    Changed,
    /// It was not sent.
    Failed(Failure),
}

/// Something to be done. Each but the timer is answered by one event.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Read up to so many operations from the front of the queue: `QueueRead` or `QueueUnread`.
    ReadQueue {
        /// How many.
        max: usize,
    },
    /// Send these contents: `UploadEnded`.
    Upload {
        /// Names the group.
        group: u64,
        /// Which.
        tickets: Vec<Ticket>,
        /// Whether the server lacks chunks that it had been sent.
        resend: bool,
    },
    /// Freeze and push these operations, or as many from the front as fit: `PushAnswered` or `PushFailed`.
    Push {
        /// Which, in order.
        tickets: Vec<Ticket>,
    },
    /// Apply these answers, after those before them: `Settled`.
    Settle {
        /// Final answers.
        answers: Vec<(Ticket, Answer)>,
        /// See `PushResponse::before`.
        before: Cursor,
        /// See `PushResponse::after`.
        after: Cursor,
    },
    /// Make another name for this operation: `Renamed`.
    Rename {
        /// Which.
        ticket: Ticket,
    },
    /// Put this operation aside until there is room for it, and take back the counters behind it: `PutAside`.
    PutAside {
        /// Which.
        ticket: Ticket,
    },
    /// Pull what changed and apply it: `PullEnded`.
    Pull {
        /// From the start, whatever the cursor.
        full: bool,
    },
    /// Open the notice socket: `LinkOpened` or `LinkLost`, and after `LinkOpened` one `LinkLost` some day.
    OpenLink,
    /// Close the notice socket.
    CloseLink,
    /// Take a new device id: `IdentityRenewed`.
    RenewIdentity,
    /// Send `Tick` at this time; replaces the timer before.
    SetTimer {
        /// When.
        at: Duration,
    },
}

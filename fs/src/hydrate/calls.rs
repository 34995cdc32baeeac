//! Owns calls to the server: what goes into one, and what becomes of its answer.
//!
//! There is no timer: while few calls are on the wire a request leaves at once, and while there are many,
//! what is wanted meanwhile gathers for the next.

use super::delivery;
use super::error::HydrateError;
use super::flights::FrameKey;
use super::hydrator::Shared;
use crate::remote::{FetchedFrames, RemoteError, Urgency};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::api::ChunkRange;
use tarn_proto::chunk::{ChunkError, ContentKey, Header, decode_frames};
use tarn_proto::error::ErrorCode;
use tarn_proto::limits::{FETCH_RANGES_MAX, FRAME_BYTES};
use tokio::sync::mpsc;

/// Calls on the wire at once, and those of them that may hold prefetches only.
const CALLS_MAX: usize = 4;
const PREFETCH_CALLS_MAX: usize = 3;
/// Plaintext asked for in one call.
const CALL_BYTES_MAX: usize = 8 << 20;
/// No call asks for less if there is more to ask for.
const CALL_FRAMES_MIN: usize = 2;
/// Answers that may wait to be verified and written.
const ANSWERS_WAITING: usize = 4;

/// Frames side by side in one chunk that are asked for together.
type Run = (ChunkRange, Vec<FrameKey>);

/// Sends as many calls as may be on the wire.
pub(super) fn dispatch(shared: &Arc<Shared>) {
    loop {
        let mut table = shared.table.lock();
        if table.call_count >= CALLS_MAX {
            return;
        }
        let may_prefetch = table.prefetch_call_count < PREFETCH_CALLS_MAX;
        let mut room = (call_bytes_max(shared) / FRAME_BYTES).clamp(CALL_FRAMES_MIN, FETCH_RANGES_MAX);
        let urgency = Urgency::default();
        let boarded = table.board(may_prefetch, &urgency, || {
            room = room.saturating_sub(1);
            room > 0
        });
        if boarded.is_empty() {
            return;
        }
        let is_prefetch = !urgency.is_high();
        table.call_count += 1;
        table.prefetch_call_count += usize::from(is_prefetch);
        drop(table);
        let shared = shared.clone();
        shared.runtime.clone().spawn(async move {
            call(&shared, runs_of(boarded), &urgency).await;
            let mut table = shared.table.lock();
            table.call_count -= 1;
            table.prefetch_call_count -= usize::from(is_prefetch);
            let is_more = table.has_waiting(true);
            drop(table);
            if is_more {
                dispatch(&shared);
            }
        });
    }
}

/// Plaintext to ask for in one call: where the rate is limited, what takes a second or so.
fn call_bytes_max(shared: &Shared) -> usize {
    let limited = shared.remote.fetch_bytes_max().unwrap_or(u64::MAX);
    usize::try_from(limited).unwrap_or(usize::MAX).min(CALL_BYTES_MAX)
}

/// Joins neighbouring frames.
fn runs_of(keys: Vec<FrameKey>) -> VecDeque<Run> {
    let mut runs: VecDeque<Run> = VecDeque::new();
    for key in keys {
        match runs.back_mut() {
            Some((range, members)) if range.id == key.id && range.first_frame + range.frame_count == key.frame => {
                range.frame_count += 1;
                members.push(key);
            }
            _ => runs.push_back((ChunkRange { id: key.id, first_frame: key.frame, frame_count: 1 }, vec![key])),
        }
    }
    runs
}

/// Makes one call. Every flight in it has ended or is waiting again when this returns.
async fn call(shared: &Arc<Shared>, runs: VecDeque<Run>, urgency: &Urgency) {
    let ranges: Vec<_> = runs.iter().map(|(range, _)| *range).collect();
    let (sink, answers) = mpsc::channel(ANSWERS_WAITING);
    shared.counters.called();
    let (remote, space) = (&shared.remote, shared.space);
    let fetching = remote.fetch_as(space, &ranges, sink, urgency);
    let (result, left) = futures_util::future::join(fetching, take_answers(shared, runs, answers)).await;
    if !left.is_empty() {
        after_failure(shared, left, result).await;
    }
}

/// Takes answers in the order asked, those that have arrived together. Returns what was not answered.
async fn take_answers(
    shared: &Arc<Shared>,
    mut runs: VecDeque<Run>,
    mut answers: mpsc::Receiver<FetchedFrames>,
) -> VecDeque<Run> {
    let mut arrived = Vec::with_capacity(ANSWERS_WAITING);
    while answers.recv_many(&mut arrived, ANSWERS_WAITING).await > 0 {
        if arrived.len() > runs.len() {
            // More than was asked for: the call ends here.
            answers.close();
        }
        let taken: Vec<_> = runs.drain(..arrived.len().min(runs.len())).zip(arrived.drain(..)).collect();
        arrived.clear();
        let this = shared.clone();
        let all = move || taken.iter().for_each(|((range, keys), answer)| take_answer(&this, *range, keys, answer));
        // A panic while taking answers leaves nothing to put back; those who wait have their deadline.
        let _ = shared.env.blocking(all).await;
    }
    runs
}

fn take_answer(shared: &Shared, range: ChunkRange, keys: &[FrameKey], answer: &FetchedFrames) {
    shared.counters.arrived(u64::from(answer.frame_count), (answer.header.len() + answer.frames.len()) as u64);
    match open(shared, range, keys, answer) {
        Ok(plain) => {
            delivery::deliver(shared, keys, &plain);
        }
        Err(detail) => {
            tracing::warn!(chunk = %range.id, detail, "what the server sent is not the chunk");
            shared.counters.damaged();
            keys.iter().for_each(|&key| shared.table.lock().damaged(key, &detail));
        }
    }
}

/// Verifies an answer and restores its plaintext.
fn open(shared: &Shared, range: ChunkRange, keys: &[FrameKey], answer: &FetchedFrames) -> Result<Bytes, String> {
    let is_asked =
        answer.id == range.id && answer.first_frame == range.first_frame && answer.frame_count as usize == keys.len();
    if !is_asked {
        return Err("another range was asked for".to_owned());
    }
    let chunk_bytes = keys.first().and_then(|key| shared.table.lock().get(key).map(|flight| flight.chunk_bytes));
    let Some(chunk_bytes) = chunk_bytes else { return Ok(Bytes::new()) };
    let key = if chunk_bytes.is_some() { &shared.key } else { &ContentKey::Ordinary };
    let plain = restore(key, range, answer).map_err(|e| e.to_string())?;
    match chunk_bytes {
        Some(expected) if expected != plain.1 => Err(format!("it has {} bytes, not {expected}", plain.1)),
        _ => Ok(plain.0.into()),
    }
}

fn restore(key: &ContentKey, range: ChunkRange, answer: &FetchedFrames) -> Result<(Vec<u8>, u64), ChunkError> {
    let header = Header::parse(&answer.header)?;
    if answer.header.len() != header.header_len() {
        return Err(ChunkError::Trailing(answer.header.len() - header.header_len()));
    }
    let plain = decode_frames(key, range.id, &header, range.first_frame, range.frame_count, &answer.frames)?;
    Ok((plain, header.plain_len() as u64))
}

/// Decides about what a call left unanswered.
async fn after_failure(shared: &Arc<Shared>, mut left: VecDeque<Run>, result: Result<(), RemoteError>) {
    let keys = |runs: &VecDeque<Run>| runs.iter().flat_map(|(_, keys)| keys.clone()).collect::<Vec<_>>();
    match result {
        Err(e) if e.is_retryable() => {
            let unanswered = keys(&left);
            if shared.note_failure(&unanswered) {
                return;
            }
            shared.env.sleep(shared.pause()).await;
            let mut table = shared.table.lock();
            for key in unanswered.into_iter().rev() {
                if table.is_wanted(&key) {
                    table.requeue(key);
                } else {
                    // Whoever waited has given up: a later read starts anew.
                    table.end(&key, Err(HydrateError::Unreachable));
                }
            }
        }
        Err(RemoteError::Refused { code: ErrorCode::NotFound, detail }) => {
            // The first one that was not answered is the one that is not there.
            let missing = left.pop_front().map(|(_, keys)| keys).unwrap_or_default();
            let mut table = shared.table.lock();
            for key in missing {
                table.end(&key, Err(HydrateError::Refused { code: ErrorCode::NotFound, detail: detail.clone() }));
            }
            keys(&left).into_iter().rev().for_each(|key| table.requeue(key));
        }
        Err(RemoteError::Refused { code, detail }) => {
            let mut table = shared.table.lock();
            for key in keys(&left) {
                table.end(&key, Err(HydrateError::Refused { code, detail: detail.clone() }));
            }
        }
        Ok(()) | Err(_) => {
            shared.counters.damaged();
            let detail = result.err().map_or_else(|| "the answer ended early".to_owned(), |e| e.to_string());
            let mut table = shared.table.lock();
            keys(&left).into_iter().for_each(|key| table.damaged(key, &detail));
        }
    }
}

/// How long to wait after this many failures in a row.
pub(super) fn pause_after(failure_count: u32) -> Duration {
    let factor = 1u32 << failure_count.min(10);
    (crate::limits::BACKOFF_MIN * factor).min(crate::limits::BACKOFF_MAX)
}

//! Owns where frames go that have come: to all who wait for them, and those that lie side by side in one file with one write.

use super::error::HydrateError;
use super::flights::{FrameKey, Target};
use super::hydrator::Shared;
use crate::content::{Filled, LocalContent};
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::ids::VersionId;
use tarn_proto::limits::FRAME_BYTES;

/// A frame, and where it is to go.
#[derive(Debug)]
pub(super) struct Arrived {
    pub key: FrameKey,
    pub targets: Vec<Target>,
    pub is_demand: bool,
}

/// Frames side by side in one file.
#[derive(Debug)]
pub(super) struct Stretch {
    content: Arc<LocalContent>,
    version: VersionId,
    pub offset: u64,
    is_guess: bool,
    pub frames: Range<usize>,
}

/// Gives frames of one chunk, the bytes of which are `plain`, to all who wait for them.
pub(super) fn deliver(shared: &Shared, keys: &[FrameKey], plain: &Bytes) {
    let mut arrived = {
        let mut table = shared.table.lock();
        let arrived = keys.iter().map(|&key| {
            let (targets, is_demand) =
                (table.take_targets(&key), table.get(&key).is_some_and(|flight| flight.is_demand));
            Arrived { key, targets, is_demand }
        });
        arrived.collect::<Vec<_>>()
    };
    for stretch in stretches(&arrived) {
        let bytes = plain.slice(bytes_of(&stretch.frames, plain.len()));
        // What does not go in together may do so one by one.
        if matches!(fill(&stretch.content, stretch.version, stretch.offset, &bytes, stretch.is_guess), Ok(filled) if filled != Filled::Full)
        {
            arrived[stretch.frames].iter_mut().for_each(|frame| frame.targets.clear());
        }
    }
    for (index, frame) in arrived.into_iter().enumerate() {
        deliver_frame(shared, frame, &plain.slice(bytes_of(&(index..index + 1), plain.len())));
    }
}

/// Which bytes of so many these frames are.
fn bytes_of(frames: &Range<usize>, length: usize) -> Range<usize> {
    (frames.start * FRAME_BYTES).min(length)..(frames.end * FRAME_BYTES).min(length)
}

/// Frames with one target each that lie side by side, two and more.
pub(super) fn stretches(arrived: &[Arrived]) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    for (index, frame) in arrived.iter().enumerate() {
        let [Target::Content { content, version, offset, is_guess }] = &frame.targets[..] else { continue };
        let is_guess = *is_guess && !frame.is_demand;
        let continues = |last: &&mut Stretch| {
            last.frames.end == index
                && Arc::ptr_eq(&last.content, content)
                && (last.version, last.is_guess) == (*version, is_guess)
                && last.offset + (last.frames.len() * FRAME_BYTES) as u64 == *offset
        };
        match all.last_mut().filter(continues) {
            Some(last) => last.frames.end += 1,
            None => {
                let (content, frames) = (Arc::clone(content), index..index + 1);
                all.push(Stretch { content, version: *version, offset: *offset, is_guess, frames });
            }
        }
    }
    all.retain(|stretch| stretch.frames.len() > 1);
    all
}

/// Gives a frame to all who wait for it, also to those who came meanwhile.
fn deliver_frame(shared: &Shared, frame: Arrived, bytes: &Bytes) {
    let Arrived { key, mut targets, mut is_demand } = frame;
    loop {
        for target in targets {
            if let Err(e) = place(shared, key, bytes, target, is_demand) {
                return shared.table.lock().end(&key, Err(e));
            }
        }
        let mut table = shared.table.lock();
        if table.land(&key) {
            return;
        }
        (targets, is_demand) = (table.take_targets(&key), table.get(&key).is_some_and(|flight| flight.is_demand));
    }
}

fn place(shared: &Shared, key: FrameKey, frame: &Bytes, target: Target, is_demand: bool) -> Result<(), HydrateError> {
    let Target::Content { content, version, offset, is_guess } = target else {
        shared.nodes.put(key.id, frame.clone());
        return Ok(());
    };
    match fill(&content, version, offset, frame, is_guess && !is_demand) {
        Ok(Filled::Done | Filled::Stale) => {}
        // A reader waits: the disk's trouble is not its own.
        Ok(Filled::Full) | Err(_) if is_demand => {
            shared.memory.put(content.no(), version, offset, frame.clone());
        }
        Ok(Filled::Full) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

fn fill(content: &LocalContent, version: VersionId, offset: u64, bytes: &Bytes, is_guess: bool) -> io::Result<Filled> {
    if is_guess { content.fill_guess(version, offset, bytes) } else { content.fill(version, offset, bytes) }
}

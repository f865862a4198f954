//! Lists of frames, threaded through the frames' records: they need no memory, and so cannot fail.

use core::ops::Range;

use vmsa::Hpa;

use crate::frames::{CHUNK_FRAMES, Frames, NONE};

/// Free frames, the last put on top; and below them adjacent ones that were never used, which come in their order.
#[derive(Debug)]
pub(crate) struct FrameStack {
    top: u32,
    /// How many there are above the adjacent ones.
    count: u32,
    /// The numbers of those.
    unused: Range<u32>,
}

impl FrameStack {
    pub(crate) const fn new() -> Self {
        Self { top: NONE, count: 0, unused: 0..0 }
    }

    /// Returns how many there are.
    pub(crate) const fn count(&self) -> u32 {
        self.count + (self.unused.end - self.unused.start)
    }

    pub(crate) fn push(&mut self, frames: &Frames, frame: Hpa) {
        frames.put_before(&mut self.top, frame);
        self.count += 1;
    }

    pub(crate) fn pop(&mut self, frames: &Frames) -> Option<Hpa> {
        let Some(frame) = frames.take_first(&mut self.top) else {
            return self.unused.next().map(|number| frames.frame(number));
        };
        self.count -= 1;
        Some(frame)
    }

    /// Puts a frame below the one that was put there last, or below nothing.
    pub(crate) fn put_after(&mut self, frames: &Frames, last: Option<Hpa>, frame: Hpa) {
        match last {
            None => self.push(frames, frame),
            Some(last) => {
                frames.set_next(frame, frames.next(last));
                frames.set_next(last, Some(frame));
                self.count += 1;
            }
        }
    }

    /// Puts adjacent frames below all others. There are no such frames yet.
    pub(crate) fn put_unused(&mut self, frames: &Frames, first: Hpa, count: u32) {
        let first = frames.number(first);
        self.unused = first..first + count;
    }
}

/// Frames and whole chunks that were taken from guests, and are free once no TLB leads to them.
#[derive(Debug)]
#[must_use]
pub(crate) struct FrameList {
    frames: u32,
    /// The chunks' first frames.
    chunks: u32,
}

impl FrameList {
    /// Returns an empty list.
    pub(crate) const fn new() -> Self {
        Self { frames: NONE, chunks: NONE }
    }

    /// Adds a frame.
    pub(crate) fn push(&mut self, frames: &Frames, frame: Hpa) {
        frames.put_before(&mut self.frames, frame);
    }

    /// Adds a chunk that is whole.
    pub(crate) fn push_chunk(&mut self, frames: &Frames, first: Hpa) {
        frames.put_before(&mut self.chunks, first);
    }

    /// Returns what is in it: frames, and chunks, with the number of frames of each.
    pub(crate) fn iter<'f>(&self, frames: &'f Frames) -> impl Iterator<Item = (Hpa, u64)> + use<'f> {
        let from = move |head: u32| core::iter::successors(frames.linked(head), |frame| frames.next(*frame));
        from(self.frames).map(|frame| (frame, 1)).chain(from(self.chunks).map(|first| (first, CHUNK_FRAMES)))
    }

    /// Returns the frame that was added last, which [`Frames::next`] leads on from, and the same of the chunks' first frames.
    pub(crate) fn heads(self, frames: &Frames) -> (Option<Hpa>, Option<Hpa>) {
        (frames.linked(self.frames), frames.linked(self.chunks))
    }
}

impl Frames {
    /// Returns the frame that a link names.
    fn linked(&self, link: u32) -> Option<Hpa> {
        (link != NONE).then(|| self.frame(link))
    }

    /// Returns the frame that [`Frames::set_next`] noted.
    pub(crate) fn next(&self, frame: Hpa) -> Option<Hpa> {
        self.linked(self.link(frame))
    }

    /// Notes another frame in this one's record; both are in use.
    pub(crate) fn set_next(&self, frame: Hpa, next: Option<Hpa>) {
        let link = next.map_or(NONE, |next| self.number(next));
        self.set_link(frame, link);
    }

    /// Makes a frame the first of a list.
    fn put_before(&self, head: &mut u32, frame: Hpa) {
        self.set_link(frame, *head);
        *head = self.number(frame);
    }

    /// Takes the first frame out of a list.
    fn take_first(&self, head: &mut u32) -> Option<Hpa> {
        let frame = self.linked(*head)?;
        *head = self.link(frame);
        Some(frame)
    }
}

//! Notes of the frames that a trace speaks of, in runs of frames that have the same note.

use std::collections::BTreeMap;

use oracle::{Frames, Note, Notes, OutOfRoom};
use vmsa::Hpa;

/// By the first frame of a run the frame past its last, and the note that all of them have. Frames in no run have none.
#[derive(Debug, Default)]
pub struct SparseNotes {
    runs: BTreeMap<u64, (u64, Note)>,
}

impl SparseNotes {
    /// Makes a run begin at the frame, if one goes over it.
    fn cut(&mut self, at: u64) {
        if let Some((_, run)) = self.runs.range_mut(..at).next_back().filter(|(_, run)| run.0 > at) {
            let (end, note) = std::mem::replace(run, (at, run.1));
            self.runs.insert(at, (end, note));
        }
    }

    /// Makes one run of two neighbours that have the same note.
    fn join(&mut self, at: u64) {
        let Some((&before, &(end, note))) = self.runs.range(..at).next_back() else { return };
        if let Some(&(next_end, next)) = self.runs.get(&at).filter(|(_, next)| end == at && *next == note) {
            debug_assert_eq!(next, note);
            self.runs.remove(&at);
            self.runs.insert(before, (next_end, note));
        }
    }

    /// Returns the runs over the frames, with those that have no note between them.
    fn over(&self, first: u64, end: u64) -> impl Iterator<Item = (u64, u64, Note)> {
        let before = self.runs.range(..first).next_back().filter(|(_, run)| run.0 > first);
        let mut runs = before.into_iter().chain(self.runs.range(first..end)).peekable();
        let mut at = first;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (next, note) = match runs.peek() {
                Some((start, run)) if **start <= at => (run.0.min(end), run.1),
                Some((start, _)) => (**start, Note::default()),
                None => (end, Note::default()),
            };
            if runs.peek().is_some_and(|(start, _)| **start <= at) {
                runs.next();
            }
            let run = (at, next, note);
            at = next;
            Some(run)
        })
    }

    fn set(&mut self, first: u64, end: u64, note: Note) {
        self.runs.insert(first, (end, note));
    }
}

impl Notes for SparseNotes {
    fn get(&self, frame: Hpa) -> Note {
        let number = frame.page_number();
        let run = self.runs.range(..=number).next_back().filter(|(_, run)| run.0 > number);
        run.map_or(Note::default(), |(_, run)| run.1)
    }

    fn change(&mut self, frame: Hpa, change: impl FnOnce(&mut Note)) -> Result<(), OutOfRoom> {
        let mut change = Some(change);
        self.change_all(Frames::new(frame.page_base(), 1), |_, note| {
            if let Some(change) = change.take() {
                change(note);
            }
        })
    }

    fn change_all(&mut self, frames: Frames, mut change: impl FnMut(Frames, &mut Note)) -> Result<(), OutOfRoom> {
        let (first, end) = (frames.first.page_number(), frames.end().page_number());
        self.cut(first);
        self.cut(end);
        let runs: Vec<_> = self.over(first, end).collect();
        for (start, end, mut note) in runs {
            change(Frames::new(Hpa(start << 12), end - start), &mut note);
            self.set(start, end, note);
            self.join(start);
        }
        self.join(end);
        Ok(())
    }

    fn each(&self, frames: Frames, mut see: impl FnMut(Frames, Note)) {
        let (first, end) = (frames.first.page_number(), frames.end().page_number());
        for (start, end, note) in self.over(first, end) {
            see(Frames::new(Hpa(start << 12), end - start), note);
        }
    }

    fn count_leaf(&mut self, frames: Frames, is_new: bool) -> Result<(), OutOfRoom> {
        self.change_all(frames, |_, note| note.count_leaf(is_new))
    }

    fn has_leaf(&self, frames: Frames) -> bool {
        let (first, end) = (frames.first.page_number(), frames.end().page_number());
        self.over(first, end).any(|(.., note)| note.has_leaf())
    }
}

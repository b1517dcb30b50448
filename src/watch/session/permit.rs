//! Whether those who opened a stream may still see what they watch.

use std::fmt::Debug;
use std::sync::atomic::Ordering;

use super::{Session, Watcher};
use crate::store::KeyRange;
use crate::watch::{Cancel, Message};

/// Knows what a stream's client may see. Asked with every turn of the stream, so that it is to be quick.
pub trait Permit: Debug + Send {
    /// Whether that may be something else than when this was asked before.
    fn has_changed(&mut self) -> bool;

    /// Whether it is all of this.
    fn covers(&self, range: &KeyRange) -> bool;
}

impl Session {
    /// Ends watchers, from now on, when they are no longer permitted to watch their range; the client is told with
    /// the stream's next turn, and sees nothing more.
    pub fn hold_to(&mut self, permit: Box<dyn Permit>) {
        self.permit = Some(permit);
    }

    /// Ends the watchers that are no longer permitted.
    pub(super) fn look_at_permit(&mut self) {
        let Some(permit) = &mut self.permit else { return };
        if !permit.has_changed() {
            return;
        }
        for (id, watcher) in &mut self.watchers {
            if let Watcher::Running { place, .. } = watcher
                && !permit.covers(&place.interest().scope().range)
            {
                *watcher = Watcher::Ended;
                self.hub.counts.watchers.fetch_sub(1, Ordering::Relaxed);
                let cancel = Cancel::Denied(self.hub.store.snapshot().revision());
                self.answers.push_back(Message::Canceled { id: *id, cancel });
            }
        }
    }
}

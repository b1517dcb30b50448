//! When a watch stream ends because the server does.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rand::Rng;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::config::live::Live;

/// The end of the server's watch streams. They end one after the other, so that their clients do not come to the other
/// replicas all at once.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    /// Cancelled when streams are to end.
    pub token: CancellationToken,
    /// Has the time over which they do.
    pub live: Live,
}

/// The end of one stream. Kept small, as there may be a hundred thousand.
#[derive(Debug)]
pub struct Ending {
    live: Live,
    wait: Wait,
}

#[derive(Debug)]
enum Wait {
    Running(Pin<Box<WaitForCancellationFutureOwned>>),
    Draining(Pin<Box<Sleep>>),
}

impl Stopping {
    /// When a stream ends that begins now.
    pub fn ending(&self) -> Ending {
        Ending { live: self.live.clone(), wait: Wait::Running(Box::pin(self.token.clone().cancelled_owned())) }
    }
}

impl Ending {
    /// Ready when the stream is to end, which is at a moment of its own.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Wait::Running(stopped) = &mut self.wait {
            ready!(stopped.as_mut().poll(cx));
            let share = rand::rng().random_range(0.0..1.0);
            self.wait = Wait::Draining(Box::pin(tokio::time::sleep(self.live.get().drain_spread.mul_f64(share))));
        }
        match &mut self.wait {
            Wait::Running(_) => Poll::Pending,
            Wait::Draining(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

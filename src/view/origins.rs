//! What was made of which resource, for those who want to know.

use tokio::sync::{mpsc, oneshot};

use crate::translate::Origins;

/// A question that waits: how many resources are wanted, and where the answer goes.
pub(super) type Question = (usize, oneshot::Sender<Origins>);

/// Where a view is asked what it made of which resource. Questions wait while it translates (`backpressure`).
#[derive(Clone, Debug)]
pub struct Ask(pub(super) mpsc::Sender<Question>);

impl Ask {
    /// Asks for so many resources; none if the view has ended.
    pub async fn ask(&self, limit: usize) -> Option<Origins> {
        let (answer, answered) = oneshot::channel();
        self.0.send((limit, answer)).await.ok()?;
        answered.await.ok()
    }
}

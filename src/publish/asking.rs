//! Requests that are under way.

use tokio::time::Instant;

use super::exchange::{Command, Request, Ticket};

/// Numbers requests and collects commands.
#[derive(Debug, Default)]
pub(super) struct Asking {
    next: u64,
    commands: Vec<Command>,
}

impl Asking {
    /// Sends a request.
    pub(super) fn ask(&mut self, request: Request, now: Instant) -> Asked {
        Asked(Some((self.send(request), now)))
    }

    /// Sends a request whose answer does not matter.
    pub(super) fn forget(&mut self, request: Request) {
        self.send(request);
    }

    /// Adds a command that is no request.
    pub(super) fn command(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// What was collected since the last call.
    pub(super) fn take(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    fn send(&mut self, request: Request) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.commands.push(Command::Ask(ticket, request));
        ticket
    }
}

/// At most one request that is under way, and when it was sent.
#[derive(Debug, Default)]
pub(super) struct Asked(Option<(Ticket, Instant)>);

impl Asked {
    /// Whether none is under way.
    pub(super) fn is_free(&self) -> bool {
        self.0.is_none()
    }

    /// When the request was sent whose answer has come; none if the answer is to another one.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Instant> {
        let (_, sent) = self.0.take_if(|(asked, _)| *asked == ticket)?;
        Some(sent)
    }
}

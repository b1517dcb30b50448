//! A view: the way of a source's configuration into the store.
//!
//! Takes the changes of resources that a source reports, has them translated, and commits what became different: one
//! push of the control plane, which comes as several responses, becomes one commit and one revision. Nothing is
//! committed while the source still waits for something that was referred to, so that no client ever sees a route
//! without its upstream, or an upstream that lost its endpoints for a moment.

pub mod guard;
pub mod origins;
pub mod pace;
mod removals;
pub mod sink;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apisix::{Generation, Object, ObjectKey};
use crate::store::SubmitError;
use crate::traces::{Change, Push, Step, Traces, Written};
use crate::translate::{Changes, Report, Translator};
use crate::xds::{Sync, Update};
pub use guard::Guard;
pub(crate) use guard::Watchman;
pub use origins::Ask;
use origins::Question;
pub use pace::Pace;
use pace::Pacer;
use removals::Removals;
pub use sink::{Sink, Target};

/// First wait after the store refused a change; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The way from a source to the store.
#[derive(Debug)]
pub struct View {
    /// Taken out while it works on a blocking thread.
    translator: Option<Translator>,
    sink: Target,
    pacer: Pacer,
    watchman: Watchman,
    removals: Removals,
    /// Whether the store may hold objects that are not the translator's, so that all are to be compared.
    compare_all: bool,
    status: watch::Sender<Status>,
    report: Arc<ArcSwap<Report>>,
    questions: (mpsc::Sender<Question>, mpsc::Receiver<Question>),
    traces: Traces,
    /// What was heard and is not committed, if it is to be told.
    push: Option<Push>,
}

/// What a view has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the first complete configuration of the source has been committed.
    pub loaded: bool,
    /// Number of times that changes were translated and what became different was committed.
    pub rounds: u64,
    /// Number of APISIX objects.
    pub objects: usize,
    /// Number of resources' features that could not be expressed exactly.
    pub reported: usize,
    /// Whether a change is held back that takes most of the objects away.
    pub held: bool,
}

/// What can happen next.
enum Event {
    Update(Option<Update>),
    Question(Question),
    Guard,
    Due,
    Removals,
    Stop,
}

impl View {
    /// A view that translates with `translator` for `target`.
    pub fn new(translator: Translator, target: impl Into<Target>, pace: Pace) -> Self {
        let grace =
            translator.options().apisix.is_some_and(Generation::watches_directories_apart).then_some(pace.grace);
        Self {
            translator: Some(translator),
            removals: Removals::new(grace),
            sink: target.into(),
            pacer: Pacer::new(pace),
            watchman: Watchman::new(watch::channel(Guard::default()).1),
            compare_all: true,
            status: watch::Sender::default(),
            report: Arc::default(),
            questions: mpsc::channel(1),
            traces: Traces::default(),
            push: None,
        }
    }

    /// Tells of changes there.
    #[must_use]
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Holds back by this guard, which may change, what takes most of the configuration away.
    #[must_use]
    pub fn guarded(self, guard: watch::Receiver<Guard>) -> Self {
        Self { watchman: Watchman::new(guard), ..self }
    }

    /// Follows what the view does.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// What could not be expressed exactly, kept up to date.
    pub fn report(&self) -> Arc<ArcSwap<Report>> {
        self.report.clone()
    }

    /// Where it is asked what was made of which resource.
    pub fn origins(&self) -> Ask {
        Ask(self.questions.0.clone())
    }

    /// Commits what `updates` brings until it ends or `token` is cancelled.
    pub async fn run(mut self, mut updates: mpsc::Receiver<Update>, token: CancellationToken) {
        let mut retry = RETRY_MIN;
        loop {
            let due = self.pacer.due();
            // All can be dropped and asked again without a loss.
            let event = tokio::select! {
                () = token.cancelled() => Event::Stop,
                update = updates.recv() => Event::Update(update),
                Some(question) = self.questions.1.recv() => Event::Question(question),
                () = self.watchman.changed() => Event::Guard,
                () = sleep_until(due) => Event::Due,
                () = sleep_until(self.removals.due()) => Event::Removals,
            };
            match event {
                Event::Stop | Event::Update(None) => return,
                Event::Update(Some(update)) => self.take(update),
                Event::Question((limit, answer)) => {
                    // Who has asked may have left.
                    let _ = answer.send(self.translator.as_ref().map(|it| it.origins(limit)).unwrap_or_default());
                }
                Event::Removals => self.remove().await,
                // What is held back may pass now.
                Event::Guard if self.watchman.holds() => self.pacer.at_once(Instant::now()),
                Event::Guard => {}
                Event::Due => match self.commit().await {
                    Ok(()) => retry = RETRY_MIN,
                    Err(error) => {
                        tracing::error!(
                            %error,
                            retry_in = ?retry,
                            "the new configuration could not be stored; the last good one is still served"
                        );
                        self.compare_all = true;
                        self.pacer.again_at(Instant::now() + retry);
                        retry = (retry * 2).min(RETRY_MAX);
                    }
                },
            }
        }
    }

    fn take(&mut self, update: Update) {
        let changed = !update.changes.is_empty();
        if changed && self.traces.are_wanted() {
            let (heard, changes) = (&update.heard, update.changes.len());
            match &mut self.push {
                Some(push) => push.add(heard, changes),
                None => self.push = Some(Push::begin(heard.clone(), changes)),
            }
        }
        if let Some(translator) = &mut self.translator {
            for change in update.changes {
                translator.apply(change);
            }
        }
        let complete = matches!(update.sync, Sync::Complete);
        let first = !self.status.borrow().loaded;
        if self.watchman.holds() && changed {
            // It may be mended.
            self.pacer.again_at(Instant::now());
        }
        self.pacer.note(changed || (first && complete), complete, Instant::now());
    }

    /// Translates and commits everything that changed.
    async fn commit(&mut self) -> Result<(), SubmitError> {
        self.pacer.done();
        let began = Instant::now();
        let (mut changes, objects, report) = self.translate().await?;
        let translated = Step::since(began);
        let compared = objects.map(|objects| (self.sink.stale(&objects), objects));
        let (served, removed) = match &compared {
            Some(((held, stale), _)) => (*held, stale.len()),
            None => (self.status.borrow().objects, changes.deletes.len()),
        };
        if let Some(until) = self.watchman.judge(served, removed, Instant::now()) {
            self.hold(served, removed, until);
            return Ok(());
        }
        let began = Instant::now();
        let written = if let Some(((_, stale), objects)) = compared {
            let written = self.replace(objects, stale).await?;
            self.compare_all = false;
            written
        } else {
            self.removals.take(&mut changes, Instant::now());
            self.sink.update(changes).await?
        };
        if let Some(push) = self.push.take() {
            let committed = Step::since(began);
            self.traces.tell(|| Change { push, translated: Some(translated), committed, written });
        }
        let rounds = self.status.borrow().rounds + 1;
        let status =
            Status { loaded: true, rounds, objects: self.objects(), reported: report.entries.len(), held: false };
        let before = self.report.load();
        if !Arc::ptr_eq(&before, &report) {
            log_news(&before, &report);
            self.report.store(report);
        }
        if self.status.send_replace(status).loaded {
            return Ok(());
        }
        tracing::info!(
            objects = status.objects,
            reported = status.reported,
            "the first complete configuration is served"
        );
        Ok(())
    }

    /// Makes `objects` all that there is, but for what of the `stale` ones stays a while.
    async fn replace(&mut self, objects: Vec<Object>, mut stale: BTreeSet<ObjectKey>) -> Result<Written, SubmitError> {
        let now = Instant::now();
        stale.retain(|key| self.removals.waits(key, now));
        let written = self.sink.replace(objects, stale.clone()).await?;
        self.removals.keep(|key| stale.contains(key));
        Ok(written)
    }

    /// Removes what has stayed long enough.
    async fn remove(&mut self) {
        let changes = self.removals.over(Instant::now());
        if let Err(error) = self.sink.update(changes.clone()).await {
            tracing::warn!(%error, retry_in = ?RETRY_MAX, "upstreams that are used no more could not be removed");
            self.removals.again_at(changes, Instant::now() + RETRY_MAX);
        }
    }

    /// Serves on what there is, and looks again later.
    fn hold(&mut self, served: usize, removed: usize, until: Instant) {
        // What was translated is not what is served.
        self.compare_all = true;
        self.pacer.again_at(until);
        if !self.status.borrow().held {
            tracing::warn!(
                served,
                removed,
                seconds = until.saturating_duration_since(Instant::now()).as_secs(),
                "the source takes most of its configuration away; what is served stays for so long, and is taken away if \
                 the source does not bring it back (--removal-guard-percent)"
            );
        }
        self.status.send_modify(|status| status.held = true);
    }

    /// Runs the translator on a thread of its own, as a large push takes a while.
    async fn translate(&mut self) -> Result<(Changes, Option<Vec<Object>>, Arc<Report>), SubmitError> {
        let mut translator = self.translator.take().ok_or(SubmitError::Stopped)?;
        let compare_all = self.compare_all;
        let work = move || {
            let changes = translator.flush();
            let objects = compare_all.then(|| translator.objects().cloned().collect());
            let report = translator.report();
            (translator, (changes, objects, report))
        };
        let (translator, result) = tokio::task::spawn_blocking(work).await.map_err(|_| SubmitError::Stopped)?;
        self.translator = Some(translator);
        Ok(result)
    }

    fn objects(&self) -> usize {
        self.translator.as_ref().map_or(0, |translator| translator.objects().len())
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Says once what is newly not expressed exactly.
fn log_news(old: &Report, new: &Report) {
    for entry in &new.entries {
        if old.entries.binary_search(entry).is_err() {
            let (kind, name) = &entry.resource;
            tracing::warn!(?kind, name, field = entry.field, fidelity = ?entry.fidelity, reason = entry.reason, effect = entry.effect, "not translated exactly");
        }
    }
}

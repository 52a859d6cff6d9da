//! More users of a header than one patch should hold, and how long it takes to look at them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use kpatch_refusal::Code;
use kpatch_refusal::Place;
use kpatch_refusal::Refusal;

use super::Where;
use super::list;
use crate::apply::Touched;
use crate::progress::Progress;
use crate::progress::seconds;

/// What is known of more objects than there may be.
pub(super) enum Many {
    /// They use what is changed.
    Certain,
    /// So many may use it, of which each takes so long to look at.
    Possible { count: usize, each: Duration },
}

/// The refusal.
pub(super) fn too_many(
    look: &Where<'_>,
    headers: &BTreeMap<&Path, &Touched>,
    many: Many,
) -> Refusal {
    let file = headers.keys().next().map(|path| path.display().to_string()).unwrap_or_default();
    let most = look.most;
    let message = match many {
        Many::Certain => {
            format!("more than {most} objects use what is changed in {}", list(headers))
        }
        Many::Possible { count, each } => {
            let count32 = u32::try_from(count).unwrap_or(u32::MAX);
            let jobs = u32::try_from(look.setting.jobs.max(1)).unwrap_or(1);
            format!(
                "{count} objects may use what is changed in {}, and up to {most} are patched; to look at \
                 them all would take some {}",
                list(headers),
                seconds(each * count32 / jobs)
            )
        }
    };
    Refusal::new(
        Code::TooManyObjects,
        Place::file(file),
        message,
        "change the .c files that need it, with a definition of their own (a new member of a structure \
         can be a shadow variable); or allow more with `--max-objects`",
    )
}

/// Says now and then how far it is, and how long the rest may take.
#[derive(Debug)]
pub(super) struct Countdown<'a> {
    progress: &'a Progress,
    all: usize,
    jobs: usize,
    done: Mutex<(usize, Duration, Instant)>,
}

impl<'a> Countdown<'a> {
    /// What is over sooner needs no countdown, and nobody reads faster.
    const SHORTEST: Duration = Duration::from_secs(8);

    pub(super) fn new(progress: &'a Progress, all: usize, jobs: usize) -> Self {
        Self { progress, all, jobs, done: Mutex::new((0, Duration::ZERO, Instant::now())) }
    }

    pub(super) fn one(&self, time: Duration) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.0 += 1;
        done.1 += time;
        if done.2.elapsed() < Self::SHORTEST {
            return;
        }
        done.2 = Instant::now();
        let (count, spent) = (u32::try_from(done.0).unwrap_or(1), done.1);
        let left = u32::try_from(self.all - done.0).unwrap_or(0);
        let left = spent / count * left / u32::try_from(self.jobs.max(1)).unwrap_or(1);
        self.progress.note(&format!(
            "{count} of {} looked at, some {} to go",
            self.all,
            seconds(left)
        ));
    }
}

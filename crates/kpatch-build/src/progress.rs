//! What the user sees while it runs: one line per step with its time. On a terminal a running step
//! is shown and then replaced; elsewhere each line is printed once, when it is known.

use std::io::IsTerminal;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

/// Reports steps on standard error.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    verbose: bool,
    started: Instant,
}

impl Progress {
    /// `verbose` shows details, too.
    pub fn new(verbose: bool) -> Self {
        Self { terminal: std::io::stderr().is_terminal(), verbose, started: Instant::now() }
    }

    /// Runs `work` as the step `name` and says how long it took; a failed step is named as such.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn step<T, E>(&self, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if self.terminal {
            self.print(&format!("{name} …"));
        }
        let started = Instant::now();
        let result = work();
        let outcome = if result.is_ok() { "" } else { " (failed)" };
        let line = format!("{name} … {}{outcome}", seconds(started.elapsed()));
        if self.terminal {
            // To the start of the line, and clear it: the running step was shown there.
            self.print(&format!("\r\x1b[K{line}\n"));
        } else {
            self.print(&format!("{line}\n"));
        }
        result
    }

    /// Something that the user should know whatever the verbosity.
    pub fn note(&self, text: &str) {
        self.line(&format!("note: {text}"));
    }

    /// Something that is not as the user may think.
    pub fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    /// Something for those who asked for details.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            self.line(&format!("  {text}"));
        }
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn line(&self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        self.print(&format!("{clear}{text}\n"));
    }

    fn print(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        // Nobody is left to tell when standard error is closed.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}

/// A time as progress lines show it.
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_returns_what_its_work_returns() {
        let progress = Progress::new(false);
        assert_eq!(progress.step("works", || Ok::<_, String>(7)), Ok(7));
        assert_eq!(progress.step("fails", || Err::<(), _>("no")), Err("no"));
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23 s");
    }
}

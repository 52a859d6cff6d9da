//! Reads what a guest said: the lines of the test protocol, and everything in the kernel log that
//! means trouble.
//!
//! Protocol, one line each, mixed with the kernel's log and ordered with it (the guest writes to
//! `/dev/kmsg`):
//!
//! ```text
//! KTEST - start                      from here on the log is scanned
//! KTEST - note <text>
//! KTEST <case> begin
//! KTEST <case> <step> pass|fail <detail>
//! KTEST <case> end
//! KTEST - done
//! ```

use std::collections::BTreeMap;

/// What means trouble wherever it stands in a line of the kernel log.
const TROUBLE: &[&str] = &[
    "BUG:",
    "WARNING:",
    "Oops",
    "Kernel panic",
    "Call Trace",
    "general protection fault",
    "soft lockup",
    "detected stalls",
    "blocked for more than",
    "unexpected",
    "kernel BUG at",
    "stack segment",
    "double fault",
    "invalid opcode",
];

/// One reported step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `before`, `loaded` ...
    pub name: String,
    /// What the guest says of it.
    pub passed: bool,
    /// Why not, or what was seen.
    pub detail: String,
}

/// What the log says about one case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseLog {
    /// Steps in the order in which they were reported.
    pub steps: Vec<Step>,
    /// Whether the case came to its end.
    pub ended: bool,
    /// Reports of the kernel between begin and end, each as its lines.
    pub reports: Vec<Vec<String>>,
}

/// What the log of one boot says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Whether the guest's script started.
    pub started: bool,
    /// Whether it came to its end.
    pub done: bool,
    /// The cases by name.
    pub cases: BTreeMap<String, CaseLog>,
    /// What the guest says about itself: `KTEST - note …`.
    pub notes: Vec<String>,
    /// Reports of the kernel after the start that fall into no case.
    pub stray: Vec<Vec<String>>,
}

/// Reads a whole serial log.
pub fn parse(text: &str) -> Log {
    let mut log = Log::default();
    let mut current: Option<String> = None;
    let mut open: Option<Vec<String>> = None;
    for line in text.lines().map(|line| line.trim_end_matches('\r')) {
        if let Some(words) = protocol(line) {
            // A report that never ended must not swallow what the guest says next.
            if let Some(report) = open.take() {
                log.report(current.as_deref(), report);
            }
            log.line(words, &mut current);
            continue;
        }
        if !log.started {
            continue;
        }
        if let Some(report) = &mut open {
            report.push(line.to_owned());
            if line.contains("---[ end") {
                log.report(current.as_deref(), open.take().unwrap_or_default());
            }
        } else if line.contains("[ cut here ]") {
            open = Some(vec![line.to_owned()]);
        } else if TROUBLE.iter().any(|word| line.contains(word)) {
            log.report(current.as_deref(), vec![line.to_owned()]);
        }
    }
    if let Some(report) = open {
        log.report(current.as_deref(), report);
    }
    log
}

/// Why a case did not pass; empty if it did. `steps` are those that it must report, `warns` the
/// kernel's warnings that it must cause, once each.
pub fn failures(log: &Log, case: &str, steps: &[String], warns: &[String]) -> Vec<String> {
    let mut failures = Vec::new();
    if !log.started {
        return vec!["the guest did not start".to_owned()];
    }
    for report in &log.stray {
        failures.push(format!("outside of any case the kernel reports: {}", headline(report)));
    }
    let Some(found) = log.cases.get(case) else {
        failures.push("the guest did not come to this case".to_owned());
        return failures;
    };
    for step in &found.steps {
        if !step.passed {
            failures.push(format!("step `{}`: {}", step.name, step.detail));
        } else if !steps.contains(&step.name) {
            failures.push(format!("step `{}` was not announced", step.name));
        }
    }
    for step in steps {
        match found.steps.iter().filter(|s| &s.name == step).count() {
            1 => {}
            0 => failures.push(format!("step `{step}` was not reported")),
            n => failures.push(format!("step `{step}` was reported {n} times")),
        }
    }
    if !found.ended {
        failures.push("the guest did not end this case".to_owned());
    }
    let mut expected: Vec<&String> = warns.iter().collect();
    for report in &found.reports {
        let warning = report.iter().any(|line| line.contains("WARNING:"));
        let known = expected.iter().position(|text| report.iter().any(|l| l.contains(*text)));
        match known {
            Some(at) if warning => {
                expected.remove(at);
            }
            _ => failures.push(format!("the kernel reports: {}", headline(report))),
        }
    }
    for text in expected {
        failures.push(format!("the kernel did not warn: {text}"));
    }
    failures
}

impl Log {
    fn line(&mut self, words: Vec<&str>, current: &mut Option<String>) {
        match words.as_slice() {
            ["-", "start", ..] => self.started = true,
            ["-", "done", ..] => self.done = true,
            ["-", "note", note @ ..] => self.notes.push(note.join(" ")),
            [case, "begin", ..] => {
                self.cases.entry((*case).to_owned()).or_default();
                *current = Some((*case).to_owned());
            }
            [case, "end", ..] => {
                self.cases.entry((*case).to_owned()).or_default().ended = true;
                *current = None;
            }
            [case, step, verdict, detail @ ..] => {
                self.cases.entry((*case).to_owned()).or_default().steps.push(Step {
                    name: (*step).to_owned(),
                    passed: *verdict == "pass",
                    detail: detail.join(" "),
                });
            }
            _ => self.stray.push(vec![format!("unreadable line: {}", words.join(" "))]),
        }
    }

    fn report(&mut self, case: Option<&str>, report: Vec<String>) {
        match case.and_then(|case| self.cases.get_mut(case)) {
            Some(case) => case.reports.push(report),
            None => self.stray.push(report),
        }
    }
}

/// The words after `KTEST`, if the line is the guest's: after the kernel's time stamp, nowhere else.
fn protocol(line: &str) -> Option<Vec<&str>> {
    let rest = match line.strip_prefix('[') {
        Some(stamped) => stamped.split_once("] ")?.1,
        None => line,
    };
    Some(rest.strip_prefix("KTEST ")?.split_whitespace().collect())
}

/// The line of a report that says most.
fn headline(report: &[String]) -> String {
    let telling = |line: &&String| TROUBLE.iter().any(|word| line.contains(word));
    report.iter().find(telling).or(report.first()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [&str; 2] = ["before", "loaded"];

    fn verdict(text: &str, warns: &[&str]) -> Vec<String> {
        let steps = STEPS.map(str::to_owned);
        let warns: Vec<String> = warns.iter().map(|w| (*w).to_owned()).collect();
        failures(&parse(text), "a", &steps, &warns)
    }

    fn log(middle: &str) -> String {
        format!(
            "[ 0.1] WARNING: at boot\n[ 1.0] KTEST - start\n[ 1.0] KTEST a begin\n[ 1.1] KTEST a \
             before pass\n{middle}[ 1.2] KTEST a loaded pass fine\n[ 1.3] KTEST a end\n[ 1.4] \
             KTEST - done\n"
        )
    }

    const WARN: &str = "[ 1.1] ------------[ cut here ]------------\n[ 1.1] kpatch: text\n[ 1.1] \
                        WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1\n[ 1.1] Call Trace:\n[ 1.1] ---[ \
                        end trace 0 ]---\n";

    #[test]
    fn passes_whole_and_ignores_what_was_before_the_start() {
        assert_eq!(verdict(&log(""), &[]), Vec::<String>::new());
    }

    #[test]
    fn an_expected_warning_counts_once() {
        assert_eq!(verdict(&log(WARN), &["kpatch: text"]), Vec::<String>::new());
        let twice = verdict(&log(&WARN.repeat(2)), &["kpatch: text"]);
        assert_eq!(twice.len(), 1, "{twice:?}");
        assert!(twice[0].contains("WARNING: CPU"));
        assert_eq!(verdict(&log(""), &["kpatch: text"]), ["the kernel did not warn: kpatch: text"]);
    }

    #[test]
    fn an_oops_is_never_excused() {
        let oops = log("[ 1.1] BUG: unable to handle page fault\n[ 1.1] RIP: kpatch: text\n");
        let found = verdict(&oops, &[]);
        assert_eq!(found, ["the kernel reports: [ 1.1] BUG: unable to handle page fault"]);
        let cut = log("[ 1.1] ---[ cut here ]---\n[ 1.1] kernel BUG at text!\n[ 1.1] ---[ end\n");
        assert_eq!(verdict(&cut, &["text"]).len(), 2);
    }

    #[test]
    fn a_missing_a_failed_and_an_unfinished_step_are_failures() {
        let text = "[ 1.0] KTEST - start\n[ 1.0] KTEST a begin\n[ 1.0] KTEST a before fail x y\n";
        let found = verdict(text, &[]);
        assert_eq!(
            found,
            [
                "step `before`: x y",
                "step `loaded` was not reported",
                "the guest did not end this case"
            ]
        );
        assert_eq!(verdict("", &[]), ["the guest did not start"]);
    }
}

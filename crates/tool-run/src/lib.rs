//! Runs external tools (make, gcc, ld, objcopy …) so that a failure can be understood afterwards.
//!
//! Every command goes into one log file, whole: the line as a shell would take it, the directory,
//! everything that it printed and how it ended. An error carries the command and the last lines.

use std::ffi::OsStr;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;

/// How many lines of a failed command's output an error repeats.
const TAIL_LINES: usize = 25;

/// The log of all commands of one run. Shared between threads; entries never interleave.
#[derive(Debug)]
pub struct ToolLog {
    path: PathBuf,
    file: Mutex<File>,
}

/// A command that ran and did not succeed.
#[derive(Debug)]
pub struct ToolFailed {
    /// The command as a shell would take it.
    pub command: String,
    /// Exit status in words.
    pub status: String,
    /// Everything that the command wrote to standard error, then to standard output.
    pub output: String,
    /// Where the full log is.
    pub log: PathBuf,
}

impl std::fmt::Display for ToolFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "command failed ({}): {}", self.status, shorten(&self.command))?;
        let lines: Vec<&str> = self.output.lines().collect();
        for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
            writeln!(f, "  {line}")?;
        }
        write!(f, "  (full log: {})", self.log.display())
    }
}

impl std::error::Error for ToolFailed {}

impl ToolLog {
    /// Opens the log at `path`, appending to what is there.
    ///
    /// # Errors
    /// When the file cannot be created or opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot open log `{}`", path.display()))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Where the log is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `command` without standard input and returns what it printed, whatever its exit code.
    ///
    /// # Errors
    /// When the command cannot be started or the log cannot be written.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        let line = shell_line(command);
        let started = Instant::now();
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run `{}`", command.get_program().to_string_lossy()))?;
        let mut entry = format!("$ {line}\n").into_bytes();
        entry.extend_from_slice(&output.stdout);
        entry.extend_from_slice(&output.stderr);
        let seconds = started.elapsed().as_secs_f64();
        entry.extend_from_slice(format!("= {} after {seconds:.2} s\n", output.status).as_bytes());
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&entry)
            .with_context(|| format!("cannot write log `{}`", self.path.display()))?;
        Ok(output)
    }

    /// Runs `command` like [`ToolLog::output`] and insists on success.
    ///
    /// # Errors
    /// As [`ToolLog::output`]; a [`ToolFailed`] when the exit code is not 0.
    pub fn run(&self, command: &mut Command) -> Result<Output> {
        let output = self.output(command)?;
        if output.status.success() {
            return Ok(output);
        }
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Err(ToolFailed {
            command: shell_line(command),
            status: output.status.to_string(),
            output: text,
            log: self.path.clone(),
        }
        .into())
    }
}

/// The command as a shell would take it, with its directory and its own environment.
pub fn shell_line(command: &Command) -> String {
    let mut line = String::new();
    if let Some(dir) = command.get_current_dir() {
        line.push_str(&format!("cd {} && ", quote(dir.as_os_str())));
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            line.push_str(&format!("{}={} ", name.to_string_lossy(), quote(value)));
        }
    }
    line.push_str(&quote(command.get_program()));
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&quote(arg));
    }
    line
}

fn quote(arg: &OsStr) -> String {
    let text = arg.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Long compiler lines say little in an error: the log has them whole.
fn shorten(line: &str) -> String {
    const MOST: usize = 300;
    if line.chars().count() <= MOST {
        return line.to_owned();
    }
    let tail: Vec<char> = line.chars().rev().take(MOST / 3).collect();
    let head: String = line.chars().take(MOST * 2 / 3).collect();
    format!("{head} … {}", tail.into_iter().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_carries_command_output_and_log() {
        let dir = std::env::temp_dir().join(format!("tool-run-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let log = ToolLog::open(&dir.join("log")).unwrap();
        let error = log.run(Command::new("sh").args(["-c", "echo out; echo bad >&2; exit 3"]));
        let failed = error.unwrap_err().downcast::<ToolFailed>().unwrap();
        assert!(failed.output.contains("bad") && failed.output.contains("out"));
        let text = std::fs::read_to_string(log.path()).unwrap();
        assert!(text.contains("$ sh -c 'echo out; echo bad >&2; exit 3'"), "{text}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

//! How a run ends, as an exit code.

use kpatch_refusal::Refusal;
use kpatch_refusal::Refusals;

/// The patch changes nothing that runs: an answer, not a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NothingChanged;

impl std::fmt::Display for NothingChanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no functional change: the patched objects do what the original ones do")
    }
}

impl std::error::Error for NothingChanged {}

/// A command line that clap accepts and that still cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The exit code for a run that ended with `result`: 0 done, 1 tool failure, 2 usage, 3 refused,
/// 4 nothing changed. The cause may be anywhere in the error's chain.
pub fn exit_code<T>(result: &anyhow::Result<T>) -> u8 {
    let Err(error) = result else { return 0 };
    for cause in error.chain() {
        if cause.is::<Refusals>() || cause.is::<Refusal>() {
            return 3;
        }
        if cause.is::<NothingChanged>() {
            return 4;
        }
        if cause.is::<Usage>() {
            return 2;
        }
    }
    1
}

/// All refusals of a run that was refused, wherever in the error's chain they are.
pub fn refusals(error: &anyhow::Error) -> Option<Vec<Refusal>> {
    error.chain().find_map(|cause| match cause.downcast_ref::<Refusals>() {
        Some(Refusals(refusals)) => Some(refusals.clone()),
        None => cause.downcast_ref::<Refusal>().map(|refusal| vec![refusal.clone()]),
    })
}

/// What the user reads about a run that did not succeed.
pub fn message(error: &anyhow::Error) -> String {
    for cause in error.chain() {
        if cause.is::<Refusals>() || cause.is::<Refusal>() {
            return format!("refused: {cause}");
        }
        if cause.is::<NothingChanged>() {
            return cause.to_string();
        }
    }
    format!("error: {error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use anyhow::anyhow;
    use kpatch_refusal::Code;
    use kpatch_refusal::Place;

    #[test]
    fn finds_the_cause_in_the_chain() {
        let refusal = Refusal::new(Code::LivepatchOff, Place::default(), "off", "turn it on");
        let chain = |error: anyhow::Error| Err::<(), _>(error).context("outer").context("more");
        assert_eq!(exit_code(&Ok(())), 0);
        assert_eq!(exit_code(&chain(anyhow!("make died"))), 1);
        assert_eq!(exit_code(&chain(Usage("no".into()).into())), 2);
        assert_eq!(exit_code(&chain(refusal.clone().into())), 3);
        assert_eq!(exit_code(&chain(Refusals::from(refusal.clone()).into())), 3);
        assert_eq!(exit_code(&chain(NothingChanged.into())), 4);
        let found = |error: anyhow::Error| refusals(&chain(error).unwrap_err());
        assert_eq!(found(refusal.clone().into()), Some(vec![refusal.clone()]));
        let several = Refusals(vec![refusal.clone(), refusal.clone()]);
        assert_eq!(found(several.clone().into()), Some(several.0));
        assert_eq!(found(NothingChanged.into()), None);
        let text = message(&chain(refusal.into()).unwrap_err());
        assert_eq!(text, "refused: KPB0204: off\n  hint: turn it on");
    }
}

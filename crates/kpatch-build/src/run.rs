//! One run from the command line to the module.

use std::path::PathBuf;

use anyhow::Result;
use create_diff_object::explain::report::ObjectReport;
use create_diff_object::explain::report::Report;
use kpatch_refusal::Refusals;

use crate::cli::Cli;
use crate::cli::Format;
use crate::diff;
use crate::front;
use crate::front::Front;
use crate::link;
use crate::link::Wish;
use crate::objects::DiffObject;
use crate::outcome::Usage;
use crate::progress::seconds;
use crate::report;
use crate::reroute;
use crate::reroute::Rerouted;
use crate::session;
use crate::session::Session;

/// Builds the module that `cli` asks for and returns where it is; `report` gets what is known of the
/// patch, also when it is refused.
///
/// # Errors
/// [`Usage`], refusals, [`crate::outcome::NothingChanged`] and tool failures, all to be told apart by
/// [`crate::outcome::exit_code`].
pub fn run(cli: &Cli, report: &mut Report) -> Result<PathBuf> {
    let name = cli.module_name().map_err(Usage)?;
    let patches = front::read_patches(&cli.patches)?;
    let session = session::open(&cli.settings)?;
    let Session { progress, jobs, cache, work, log, tree, target } = &session;
    let only_on = target.only_on(cli.no_build_id_check)?;
    let most_objects = cli.max_objects as usize;
    let context = session.context();
    let mut front = front::run(&context, tree, &target.origin(), &patches, most_objects)?;
    let is_text = cli.format == Format::Text;
    let explained = (cli.explain || !is_text).then_some(&mut report.objects);
    let objects = differences(&session, &mut front, most_objects, explained);
    if is_text {
        report::lines(objects.as_deref().unwrap_or_default());
        report::explanations(&report.objects);
    }
    let objects = objects?;
    report::add(report, &objects);
    if is_text {
        for notice in objects.iter().flat_map(|object| &object.notices) {
            progress.warning(&notice.to_string());
        }
    }
    if only_on.is_none() {
        progress.warning(
            "the patch does not check build-ids: it may be enabled on what it was not built for",
        );
    }
    if let Some(text) = report::cannot_come_again(&objects, target) {
        progress.warning(&text);
    }
    if let Some(text) = report::start_anew(&objects).filter(|_| !cli.no_replace) {
        progress.warning(&text);
    }
    let wish = Wish { name: &name, replace: !cli.no_replace, template: cli.template, only_on };
    let prepared = &front.prepared;
    let intermediate = progress.step("link the module", || {
        link::link(&objects, wish, target, prepared, (&work.path, cache.root()), *jobs, log)
    })?;
    let module = progress.step("convert and verify", || {
        let modules = link::modules(&objects, target)?;
        link::convert(&intermediate, &modules, target, &cli.output, &name)
    })?;
    progress.detail(&format!("compilers: {}", seconds(front.compiler_time)));
    progress.detail(&format!("total: {}", seconds(progress.elapsed())));
    if is_text {
        println!("{}", module.display());
    }
    session.work.done(cli.settings.keep, &session.progress)?;
    Ok(module)
}

/// The differences of all that `front` has, which grows by the files whose functions call what nothing can
/// redirect, to `most_objects` at most. `explained` gets why functions count as changed.
fn differences(
    session: &Session,
    front: &mut Front,
    most_objects: usize,
    mut explained: Option<&mut Vec<ObjectReport>>,
) -> Result<Vec<DiffObject>> {
    let Session { progress, work, tree, target, .. } = session;
    let directory = work.path.join("diff");
    let mut rerouted = Rerouted::default();
    let mut first: Option<Refusals> = None;
    let objects = loop {
        if let Some(all) = &mut explained {
            all.clear();
        }
        let explained = explained.as_deref_mut();
        let objects = progress.step("diff", || {
            diff::diff(&front.pairs, &rerouted, target, &tree.root, &directory, explained)
        });
        // Every look at the callers of one function more may find others that cannot be redirected.
        let refused = objects.as_ref().err().and_then(|error| error.downcast_ref::<Refusals>());
        let more = refused.map(|refused| rerouted.with(refused, &front.pairs, target));
        let Some(more) = more.transpose()?.flatten() else { break objects };
        first = first.or(refused.cloned());
        let users = progress.step("compile callers in other files", || {
            front::callers(&session.context(), tree, front, &more)
        })?;
        if front.pairs.len() + users.len() > most_objects {
            break objects;
        }
        front.pairs.extend(users);
        rerouted = more;
    };
    objects.map_err(|error| match (first, error.downcast_ref()) {
        (Some(first), Some(then)) => reroute::in_vain(first, then).into(),
        _ => error,
    })
}

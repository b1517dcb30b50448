//! `confcast translate`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::args::{FailOn, Output, ReportForm, TranslateArgs};
use super::settings::{self, SettingsError};
use crate::config::Prefix;
use crate::translate::{Fidelity, Options, Report, Translation, translate_all};
use crate::xds;

/// Translates files, prints the objects, and says on the standard error output what is not exact.
pub(super) fn translate(args: &TranslateArgs) -> anyhow::Result<ExitCode> {
    let prefix = Prefix::new(&args.prefix).map_err(SettingsError::from)?;
    let (resources, errors) = xds::files::load(&args.inputs);
    for error in &errors {
        eprintln!("error: {error}");
    }
    if !errors.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let tokens = settings::translate::tokens(Some(&args.jwt), args.apisix)?;
    let servers = settings::translate::servers(Some(&args.ext_authz))?;
    let options = Options { apisix: args.apisix, tokens, servers, ..Options::default() };
    let translation = translate_all(resources.into_values(), options);
    print(&translation, args.output, prefix.as_str())?;
    let report = report(&translation.report, args.report)?;
    if let Output::None = args.output {
        print!("{report}");
    } else {
        eprint!("{report}");
    }
    let fails = |fidelity| match args.fail_on {
        None => false,
        Some(FailOn::Approximate) => true,
        Some(FailOn::NotExpressible) => fidelity == Fidelity::NotExpressible,
    };
    let failed = translation.report.entries.iter().any(|entry| fails(entry.fidelity));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(translation: &Translation, output: Output, prefix: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if let Output::Etcd = output {
        for object in &translation.objects {
            let key = String::from_utf8_lossy(&object.key.etcd_key(prefix)).into_owned();
            let value = String::from_utf8_lossy(&object.value).replace('\'', "'\\''");
            writeln!(out, "etcdctl put {key} '{value}'")?;
        }
        return Ok(());
    }
    if let Output::ApisixYaml = output {
        writeln!(out, "{}", standalone(translation)?)?;
        return Ok(());
    }
    let mut objects = Map::new();
    for object in &translation.objects {
        let key = String::from_utf8_lossy(&object.key.etcd_key(prefix)).into_owned();
        objects.insert(key, serde_json::from_slice(&object.value)?);
    }
    let all: Value = json!({"objects": objects, "report": translation.report.entries});
    match output {
        Output::Yaml => writeln!(out, "{}", serde_saphyr::to_string(&all)?)?,
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?,
        Output::Etcd | Output::ApisixYaml | Output::None => {}
    }
    Ok(())
}

/// The objects as the file that APISIX reads without an etcd: lists by directory, and a last line that tells APISIX
/// that it is whole. Written as JSON, of which YAML is a superset and which leaves no text to be read as something else.
fn standalone(translation: &Translation) -> anyhow::Result<String> {
    let mut kinds: Map<String, Value> = Map::new();
    for object in &translation.objects {
        let list = kinds.entry(object.key.kind.directory()).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(serde_json::from_slice(&object.value)?);
        }
    }
    let mut text = String::new();
    for (kind, list) in kinds {
        text.push_str(&kind);
        text.push_str(":\n");
        for object in list.as_array().into_iter().flatten() {
            text.push_str("  - ");
            text.push_str(&object.to_string());
            text.push('\n');
        }
    }
    text.push_str("#END");
    Ok(text)
}

fn report(report: &Report, form: ReportForm) -> anyhow::Result<String> {
    if form == ReportForm::Json {
        return Ok(format!("{}\n", serde_json::to_string_pretty(report)?));
    }
    let lines = report.entries.iter().map(|entry| {
        let (kind, name) = &entry.resource;
        let fidelity = match entry.fidelity {
            Fidelity::Approximate => "approximate",
            Fidelity::NotExpressible => "not expressible",
        };
        format!("{fidelity}: {kind:?} {name}, {}: {}; {}\n", entry.field, entry.reason, entry.effect)
    });
    Ok(lines.collect())
}

impl From<crate::config::PrefixError> for SettingsError {
    fn from(error: crate::config::PrefixError) -> Self {
        super::settings::wrong("--prefix", error)
    }
}

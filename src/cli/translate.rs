//! `confcast translate`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::args::{FailOn, Output, TranslateArgs};
use super::settings::SettingsError;
use crate::config::Prefix;
use crate::translate::{Fidelity, Options, Translation, translate_all};
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
    let translation = translate_all(resources.into_values(), Options::default());
    print(&translation, args.output, prefix.as_str())?;
    for entry in &translation.report.entries {
        let (kind, name) = &entry.resource;
        let fidelity = match entry.fidelity {
            Fidelity::Approximate => "approximate",
            Fidelity::NotExpressible => "not expressible",
        };
        eprintln!("{fidelity}: {kind:?} {name}, {}: {}; {}", entry.field, entry.reason, entry.effect);
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
    let mut objects = Map::new();
    for object in &translation.objects {
        let key = String::from_utf8_lossy(&object.key.etcd_key(prefix)).into_owned();
        objects.insert(key, serde_json::from_slice(&object.value)?);
    }
    let all: Value = json!({"objects": objects, "report": translation.report.entries});
    match output {
        Output::Yaml => writeln!(out, "{}", serde_saphyr::to_string(&all)?)?,
        Output::Json | Output::Etcd => writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?,
    }
    Ok(())
}

impl From<crate::config::PrefixError> for SettingsError {
    fn from(error: crate::config::PrefixError) -> Self {
        super::settings::wrong("--prefix", error)
    }
}

//! Every setting as the code has it: for docs/configuration.md.

use clap::CommandFactory;
use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Visitor};

use super::args::Args;
use super::settings::File;
use super::settings::file::LIVE;

/// A setting of the server.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What it is about.
    pub subject: String,
    /// The flag, without its dashes.
    pub flag: String,
    /// The environment variable.
    pub variable: String,
    /// The name in the file; none for what decides how that is read.
    pub key: Option<String>,
    /// What is given; none for a flag that stands alone.
    pub value: Option<String>,
    /// All that may be given, if it is one of few.
    pub choices: Vec<String>,
    /// Whether there may be several.
    pub several: bool,
    /// What holds if it is not given; none for nothing.
    pub default: Option<String>,
    /// Whether it changes while the server runs.
    pub live: bool,
    /// What it means.
    pub meaning: String,
}

/// Every setting, in the order of the subjects and the flags.
pub fn settings() -> Vec<Setting> {
    let command = Args::command();
    let serve = command.find_subcommand("serve").expect("serve is a command");
    let keys = keys();
    let mut all: Vec<_> = command.get_arguments().chain(serve.get_arguments()).map(|arg| setting(arg, keys)).collect();
    // What is about one subject may be in several places.
    let subjects: Vec<_> = all.iter().map(|setting| setting.subject.clone()).collect();
    all.sort_by_key(|setting| subjects.iter().position(|subject| *subject == setting.subject));
    all
}

/// The names in the file that no flag has. There are none, as a test says.
pub fn without_flag() -> Vec<&'static str> {
    let known = settings();
    keys().iter().copied().filter(|key| !known.iter().any(|setting| setting.key.as_deref() == Some(key))).collect()
}

fn setting(arg: &clap::Arg, keys: &[&str]) -> Setting {
    let flag = arg.get_long().expect("settings have long names").to_owned();
    let key = flag.replace('-', "_");
    let subject = match arg.get_help_heading() {
        Some(heading) => heading.to_owned(),
        None if flag.starts_with("xds")
            || ["listener-ports", "apisix", "jwt", "ext-authz"].contains(&flag.as_str()) =>
        {
            "Control plane or files (--source xds, xds-file)".into()
        }
        None if flag.starts_with("log") => "Log".into(),
        None => "Server".into(),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (meaning, told) = match help.split_once(" [default: ") {
        Some((meaning, rest)) => (meaning.to_owned(), Some(rest.trim_end_matches(']').to_owned())),
        None => (help, None),
    };
    let known = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let takes_value = arg.get_action().takes_values();
    let choices = arg.get_possible_values().into_iter().map(|value| value.get_name().to_owned());
    let choices: Vec<_> = choices.filter(|_| takes_value).collect();
    let switch = !takes_value || choices == ["true", "false"];
    Setting {
        subject,
        variable: arg.get_env().expect("settings have variables").to_string_lossy().into_owned(),
        live: LIVE.contains(&key.as_str()),
        key: keys.contains(&key.as_str()).then_some(key),
        value: arg.get_value_names().and_then(|names| names.first()).filter(|_| takes_value).map(ToString::to_string),
        choices,
        several: matches!(arg.get_action(), clap::ArgAction::Append),
        default: told.or(known.filter(|_| takes_value)).or(switch.then(|| "false".to_owned())),
        meaning,
        flag,
    }
}

/// The names that the file may have.
fn keys() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The error is that there is nothing to read.
    let _ = File::deserialize(Names(&mut names));
    names
}

/// Hears what is asked for, and gives nothing.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("only names are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

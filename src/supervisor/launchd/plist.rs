//! Property lists of launchd's jobs on the disk (launchd.plist(5)), in XML or binary form.

use crate::model::text::printable;
use crate::parse::ParseError;
use plist::{Dictionary, Value};

const WHAT: &str = "property list";
/// Maximum number of arrays and dictionaries in an XML property list; real jobs have far fewer.
const MAX_NESTED: usize = 256;

/// The keys of a property list that are used. Of its environment only two variables are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFile {
    /// `Label`.
    pub label: String,
    /// `ProgramArguments`, else `Program`: recognised, and masked before they are printed.
    pub arguments: Vec<String>,
    /// `HERMES_HOME` of `EnvironmentVariables`.
    pub home: Option<String>,
    /// `HERMES_WEBUI_PORT` of the same dictionary.
    pub webui_port: Option<u16>,
    /// `RunAtLoad`.
    pub run_at_load: bool,
    /// `KeepAlive`: true, or a dictionary of conditions.
    pub keep_alive: bool,
    /// `Disabled`: the default, which `launchctl enable` overrides.
    pub disabled: bool,
    /// `SoftResourceLimits.NumberOfFiles`.
    pub soft_descriptors: Option<u64>,
    /// `StandardErrorPath`, else `StandardOutPath`.
    pub log: Option<String>,
}

impl JobFile {
    /// Whether launchd starts it without a request once it is loaded.
    pub fn is_enabled(&self) -> bool {
        (self.run_at_load || self.keep_alive) && !self.disabled
    }
}

/// Parses a property list.
///
/// # Errors
/// When it is not a property list, is nested too deeply, or has no label.
pub fn job_file(bytes: &[u8]) -> Result<JobFile, ParseError> {
    let opens = |name: &[u8]| bytes.windows(name.len()).filter(|window| *window == name).count();
    if !bytes.starts_with(b"bplist") && opens(b"<array").saturating_add(opens(b"<dict")) > MAX_NESTED {
        return Err(ParseError::new(WHAT, "it is nested too deeply"));
    }
    let value = Value::from_reader(std::io::Cursor::new(bytes)).map_err(|error| ParseError::new(WHAT, error))?;
    let job = value.as_dictionary().ok_or_else(|| ParseError::new(WHAT, "it is not a dictionary"))?;
    let text = |of: &Dictionary, key: &str| Some(printable(of.get(key)?.as_string()?.as_bytes()));
    let is_true = |key: &str| job.get(key).and_then(Value::as_boolean) == Some(true);
    let label = text(job, "Label").filter(|label| !label.is_empty());
    let arguments = job
        .get("ProgramArguments")
        .and_then(Value::as_array)
        .map(|words| words.iter().filter_map(|word| word.as_string().map(str::to_owned)).collect::<Vec<_>>());
    let program = || job.get("Program").and_then(Value::as_string).map(|program| vec![program.to_owned()]);
    let environment = job.get("EnvironmentVariables").and_then(Value::as_dictionary);
    let limits = job.get("SoftResourceLimits").and_then(Value::as_dictionary);
    Ok(JobFile {
        label: label.ok_or_else(|| ParseError::new(WHAT, "it has no label"))?,
        arguments: arguments.filter(|words| !words.is_empty()).or_else(program).unwrap_or_default(),
        home: environment.and_then(|found| text(found, "HERMES_HOME")).filter(|home| home.starts_with('/')),
        webui_port: environment.and_then(|found| text(found, "HERMES_WEBUI_PORT")?.trim().parse().ok()),
        run_at_load: is_true("RunAtLoad"),
        keep_alive: is_true("KeepAlive")
            || job.get("KeepAlive").is_some_and(|value| value.as_dictionary().is_some()),
        disabled: is_true("Disabled"),
        soft_descriptors: limits.and_then(|limits| limits.get("NumberOfFiles")?.as_unsigned_integer()),
        log: text(job, "StandardErrorPath").or_else(|| text(job, "StandardOutPath")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &[u8] = br#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>ai.hermes.gateway</string>
  <key>ProgramArguments</key>
  <array><string>/Users/h/venv/bin/python</string><string>-m</string><string>hermes_cli.main</string>
    <string>gateway</string><string>run</string></array>
  <key>EnvironmentVariables</key>
  <dict><key>HERMES_HOME</key><string>/Users/h/.hermes</string><key>TOKEN</key><string>secret</string></dict>
  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
  <key>RunAtLoad</key><true/>
  <key>SoftResourceLimits</key><dict><key>NumberOfFiles</key><integer>4096</integer></dict>
  <key>StandardErrorPath</key><string>/Users/h/.hermes/logs/gateway.error.log</string>
</dict>
</plist>"#;

    #[test]
    fn reads_a_job() {
        let found = job_file(GATEWAY).unwrap();
        assert_eq!(found.label, "ai.hermes.gateway");
        assert_eq!(found.arguments.len(), 5);
        assert_eq!((found.home.as_deref(), found.webui_port), (Some("/Users/h/.hermes"), None));
        assert!(found.keep_alive && found.run_at_load && found.is_enabled());
        assert_eq!(found.soft_descriptors, Some(4096));
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[test]
    fn reads_a_binary_one() {
        let mut bytes = Vec::new();
        Value::from_reader(std::io::Cursor::new(GATEWAY)).unwrap().to_writer_binary(&mut bytes).unwrap();
        assert_eq!(job_file(&bytes).unwrap(), job_file(GATEWAY).unwrap());
    }

    #[test]
    fn disabled_is_not_started() {
        let text =
            String::from_utf8_lossy(GATEWAY).replace("<key>RunAtLoad", "<key>Disabled</key><true/><key>RunAtLoad");
        assert!(!job_file(text.as_bytes()).unwrap().is_enabled());
    }

    #[test]
    fn hostile_files_are_refused() {
        let deep = format!("<plist version=\"1.0\">{}", "<array>".repeat(100_000));
        for bytes in [
            &b""[..],
            b"bplist00",
            b"bplist00\xff\xff\xff\xff",
            b"<plist version=\"1.0\"><array/></plist>",
            b"<plist version=\"1.0\"><dict><key>Label</key><string></string></dict></plist>",
            &GATEWAY[..300],
            deep.as_bytes(),
        ] {
            assert!(job_file(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = job_file(&bytes);
            let _ = job_file(&[&b"bplist00"[..], &bytes].concat());
        }
    }
}

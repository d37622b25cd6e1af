//! The JSON Schema of the envelope, made of the model's types: what a report has, what it may leave out, and what it may
//! have besides.

use crate::model::{Envelope, SCHEMA};
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

/// The schema as it is kept in the documents: what the program prints. `tests/it/schema.rs` compares it with that of the types.
pub fn kept() -> &'static str {
    include_str!("../../docs/schema/hermes-doctor-1.json")
}

/// The schema as JSON, indented, with a newline at its end (JSON Schema 2020-12). It asks for everything that each report
/// of this format has, leaves out what older ones of the format do not have yet, and is open to fields that are added.
pub fn text() -> String {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(Contract).with_transform(Words);
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<Envelope>();
    schema.insert("title".to_owned(), format!("A report of hermes-doctor, {SCHEMA}").into());
    let mut text = format!("{:#}", Value::from(schema));
    text.push('\n');
    text
}

/// A field that a reader fills in where it is missing came later, and is not asked for.
#[derive(Clone)]
struct Contract;

impl Transform for Contract {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let has_default = |name: &Value, fields: &Value| {
            name.as_str().and_then(|name| fields.get(name)?.get("default")).is_some()
        };
        let fields = schema.get("properties").cloned().unwrap_or_default();
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| !has_default(name, &fields));
        }
    }
}

/// Descriptions are doc comments, in which links stand in brackets and lines are broken.
#[derive(Clone)]
struct Words;

impl Transform for Words {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.replace("[`super::", "`").replace("[`", "`").replace("`]", "`").replace('\n', " ");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn descriptions_are_plain_sentences() {
        let text = super::text();
        let of = |line: &&str| line.trim_start().starts_with("\"description\"");
        assert!(text.lines().filter(of).count() > 300);
        let bad = text.lines().filter(of).find(|line| line.contains("[`") || line.contains("\\n"));
        assert_eq!(bad, None);
    }
}

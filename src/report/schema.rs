//! The JSON Schema of the envelope, generated from the model types: required, optional and additional fields of
//! a report.

use crate::model::{Envelope, SCHEMA};
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

/// The committed schema, which the program prints. `tests/it/schema.rs` compares it with that of the types.
pub fn kept() -> &'static str {
    include_str!("../../docs/schema/hermes-doctor-1.json")
}

/// Calls `found` with each field that has a list of values, and each of its values.
pub fn each_list_of_values(found: &mut dyn FnMut(&str, &str)) {
    let schema: Value = serde_json::from_str(kept()).unwrap_or_default();
    let definitions = schema.get("$defs").and_then(Value::as_object);
    let objects = definitions.into_iter().flat_map(|all| all.values()).chain(std::iter::once(&schema));
    for object in objects {
        let fields = object.get("properties").and_then(Value::as_object).into_iter().flatten();
        fields.for_each(|(field, node)| each_value(node, &schema, &mut |value| found(field, value)));
    }
}

/// The values of a text in a schema: `enum` and `const`, also of an element, and behind references.
fn each_value(node: &Value, schema: &Value, found: &mut dyn FnMut(&str)) {
    node.get("const").into_iter().chain(node.get("enum").and_then(Value::as_array).into_iter().flatten()).for_each(
        |value| {
            value.as_str().into_iter().for_each(&mut *found);
        },
    );
    let one_of = ["oneOf", "anyOf"].into_iter().filter_map(|key| node.get(key)?.as_array()).flatten();
    one_of.chain(node.get("items")).for_each(|part| each_value(part, schema, found));
    // A definition with fields of its own is another object.
    let reference =
        node.get("$ref").and_then(Value::as_str).and_then(|path| schema.pointer(path.trim_start_matches('#')));
    if let Some(definition) = reference.filter(|definition| definition.get("properties").is_none()) {
        each_value(definition, schema, found);
    }
}

/// The schema as indented JSON with a final newline (JSON Schema 2020-12). It requires all fields that every
/// report of this format has, does not require fields that older reports of the format lack, and permits
/// additional fields.
pub fn text() -> String {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(Contract).with_transform(Words);
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<Envelope>();
    schema.insert("title".to_owned(), format!("A report of hermes-doctor, {SCHEMA}").into());
    let mut text = format!("{:#}", Value::from(schema));
    text.push('\n');
    text
}

/// Makes fields with a default optional: they were added later.
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

/// Converts doc comments to descriptions: removes the brackets of links and the line breaks.
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

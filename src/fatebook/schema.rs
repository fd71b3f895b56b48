//! The JSON Schema of a fatebook, for editors: made from the table of keys that the reader goes by. Pure.

use serde_json::{Map, Value, json};

use super::keys::{self, KeyRule, Shape};

/// The schema, ready to be written to a file.
pub fn schema() -> String {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A fatebook of Pisaura",
    });
    if let (Value::Object(schema), Value::Object(book)) = (&mut schema, map_of(keys::BOOK)) {
        schema.extend(book);
    }
    format!("{schema:#}\n")
}

fn map_of(rules: &[KeyRule]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut aliased = Vec::new();
    for rule in rules {
        let mut property = shape_of(rule.shape);
        property["description"] = if rule.default.is_empty() {
            json!(rule.meaning)
        } else {
            json!(format!("{} (default: {})", rule.meaning, rule.default))
        };
        if let Some(alias) = rule.alias {
            properties.insert(alias.to_owned(), property.clone());
            aliased.push(json!({ "not": { "required": [rule.name, alias] } }));
        }
        properties.insert(rule.name.to_owned(), property);
        // What the book may say for all its failures cannot be missed in one.
        let is_above =
            !std::ptr::eq(rules, keys::BOOK) && keys::BOOK.iter().any(|book| book.name == rule.name);
        if rule.required && !is_above {
            required.push(rule.name);
        }
    }
    let mut map = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if std::ptr::eq(rules, keys::BOOK) {
        // For anchors.
        map["patternProperties"] = json!({ "^x-": {} });
    }
    if !required.is_empty() {
        map["required"] = json!(required);
    }
    if !aliased.is_empty() {
        map["allOf"] = json!(aliased);
    }
    map
}

/// Wherever a value is expected, a text with a variable in it will do as well.
fn or_variable(mut shape: Value) -> Value {
    let variable = json!({ "type": "string", "pattern": "\\$\\{" });
    match shape.as_object_mut() {
        Some(_) => json!({ "anyOf": [shape, variable] }),
        None => shape,
    }
}

fn shape_of(shape: Shape) -> Value {
    let scalar = json!({ "type": ["string", "number"] });
    match shape {
        Shape::Text => json!({ "type": ["string", "number", "null"] }),
        Shape::Number => or_variable(json!({ "type": "number", "exclusiveMinimum": 0 })),
        Shape::Count => or_variable(json!({ "type": "integer", "minimum": 0 })),
        Shape::Port => or_variable(json!({ "type": "integer", "minimum": 1, "maximum": 65535 })),
        Shape::Truth => or_variable(json!({ "type": "boolean" })),
        Shape::Duration => or_variable(json!({ "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": "^([0-9.]+(ms|s|m|min|h))+$" },
        ]})),
        Shape::With => {
            json!({ "type": "object", "additionalProperties": { "type": "array", "items": scalar, "minItems": 1 } })
        }
        Shape::On => {
            let count = json!({ "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "enum": ["each", "minority", "majority", "all"] },
            ]});
            let hosts = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
            json!({ "anyOf": [
                count,
                hosts,
                { "type": "array", "items": hosts, "minItems": 1 },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": { "random": count },
                    "required": ["random"],
                },
            ]})
        }
        Shape::Share => or_variable(json!({ "type": "string", "pattern": "^[0-9.]+ ?%$" })),
        Shape::Still => json!({ "anyOf": [{ "type": "boolean" }, shape_of(Shape::Command)] }),
        Shape::Inducer => json!({ "anyOf": [
            shape_of(Shape::Command),
            { "type": "array", "items": map_of(keys::STEP_KEYS), "minItems": 1 },
        ]}),
        Shape::Reverter => json!({ "anyOf": [{ "const": "none" }, shape_of(Shape::Command)] }),
        Shape::Deadman => or_variable(json!({ "anyOf": [
            shape_of(Shape::Duration),
            { "const": "off" },
            map_of(keys::DEADMAN_KEYS),
        ]})),
        Shape::Texts => json!({ "type": "array", "items": scalar }),
        Shape::Hosts => json!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ]}),
        Shape::Check => json!({ "anyOf": [shape_of(Shape::Command), map_of(keys::PROBE_KEYS)] }),
        Shape::Checks => json!({ "type": "array", "items": map_of(keys::CHECK_KEYS) }),
        Shape::Known => map_of(keys::KNOWN_KEYS),
        Shape::Output => map_of(keys::EXPECT_OUTPUT_KEYS),
        Shape::Command => json!({ "type": "array", "items": scalar, "minItems": 1 }),
        Shape::Variables => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
            "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
        }),
        Shape::OneOf(choices) => or_variable(json!({ "enum": choices })),
        Shape::Ssh => map_of(keys::SSH),
        Shape::Failures => {
            json!({ "type": "array", "minItems": 1, "items": map_of(keys::FAILURE) })
        }
    }
}

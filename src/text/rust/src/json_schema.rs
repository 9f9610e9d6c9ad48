//! JSON schemas of clients, made safe and told apart before llguidance compiles them: what it cannot do is named,
//! and what would take it long is refused (json_schema_cost).

use serde_json::{Map, Value, json};

use crate::ffi::Failure;
use crate::json_schema_cost;
use crate::source_bounds::check_regex;

const MAX_DEPTH: usize = 64;
const MAX_WEIGHT: usize = 10_000;
/// Of schemas, objects and arrays; plain values of an enumeration weigh 1.
const NODE_WEIGHT: usize = 3;
const MAX_WHITESPACE_PATTERN_BYTES: usize = 64;
const MAX_PATTERN_PAIRS: usize = 64;
/// Divisibility is decided by an automaton with a state for every remainder.
const MAX_DIVISOR: u64 = 10_000;

/// What may stand between the tokens of JSON.
pub enum Whitespace<'a> {
    /// Nothing.
    None,
    /// At most one space after commas and colons: unbounded whitespace lets weak models spin.
    SingleSpace,
    /// This regular expression, anywhere.
    Pattern(&'a str),
}

const UNSUPPORTED: [&str; 15] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "uniqueItems",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
    "minContains",
];

/// A schema as llguidance takes it.
pub fn prepare_text(text: &str, whitespace: &Whitespace) -> Result<Value, Failure> {
    let schema = serde_json::from_str(text)
        .map_err(|error| Failure::invalid(format!("the JSON schema is not JSON: {error}")))?;
    prepare(schema, whitespace)
}

pub fn prepare(mut schema: Value, whitespace: &Whitespace) -> Result<Value, Failure> {
    let mut walk = Walk::default();
    walk.schema(&mut schema, &mut "#".to_owned(), 0)?;
    json_schema_cost::check(&schema)?;
    let options = options_of(whitespace)?;
    match &mut schema {
        Value::Object(object) => {
            object.insert("x-guidance".to_owned(), options);
            Ok(schema)
        }
        // Options have no other place.
        _ => Ok(json!({"allOf": [schema], "x-guidance": options})),
    }
}

fn options_of(whitespace: &Whitespace) -> Result<Value, Failure> {
    match whitespace {
        Whitespace::None => {
            Ok(json!({"whitespace_flexible": false, "item_separator": ",", "key_separator": ":"}))
        }
        Whitespace::SingleSpace => {
            Ok(json!({"whitespace_flexible": false, "item_separator": ", ?", "key_separator": ": ?"}))
        }
        Whitespace::Pattern(pattern) if pattern.len() > MAX_WHITESPACE_PATTERN_BYTES => {
            Err(Failure::invalid(format!(
                "the whitespace pattern has {} bytes; at most {MAX_WHITESPACE_PATTERN_BYTES} are supported",
                pattern.len()
            )))
        }
        Whitespace::Pattern(pattern) => Ok(json!({"whitespace_pattern": pattern})),
    }
}

#[derive(Default)]
struct Walk {
    weight: usize,
    num_pattern_pairs: usize,
}

impl Walk {
    /// `path` is what errors name; it comes back as it was.
    fn schema(&mut self, schema: &mut Value, path: &mut String, depth: usize) -> Result<(), Failure> {
        self.count(NODE_WEIGHT, path, depth)?;
        let object = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(object) => object,
            _ => return Err(Failure::invalid(format!("{path}: a schema must be an object or a boolean"))),
        };
        object.remove("x-guidance");
        for keyword in object.keys() {
            if UNSUPPORTED.contains(&keyword.as_str()) && !is_vacuous(keyword, &object[keyword]) {
                return Err(Failure::unsupported(format!(
                    "{path}: the JSON schema keyword '{keyword}' is not supported"
                )));
            }
        }
        object.retain(|keyword, _| !UNSUPPORTED.contains(&keyword.as_str()));
        treat_one_of_as_any_of(object);
        for (keyword, value) in object.iter_mut() {
            self.keyword(keyword, value, path, depth)?;
        }
        Ok(())
    }

    fn keyword(
        &mut self,
        keyword: &str,
        value: &mut Value,
        path: &mut String,
        depth: usize,
    ) -> Result<(), Failure> {
        match keyword {
            "properties" | "patternProperties" | "$defs" | "definitions" => {
                let Value::Object(members) = value else { return Ok(()) };
                if keyword == "patternProperties" {
                    self.count_patterns(members.len(), path)?;
                }
                for (name, member) in members {
                    self.below(&format!("/{keyword}/{name}"), member, path, depth)?;
                }
            }
            "items" | "prefixItems" | "allOf" | "anyOf" => match value {
                Value::Array(members) => {
                    for (index, member) in members.iter_mut().enumerate() {
                        self.below(&format!("/{keyword}/{index}"), member, path, depth)?;
                    }
                }
                member if keyword == "items" => self.below("/items", member, path, depth)?,
                _ => {}
            },
            "additionalProperties" | "additionalItems" => {
                self.below(&format!("/{keyword}"), value, path, depth)?;
            }
            "pattern" => check_regex(value.as_str().unwrap_or_default())?,
            "multipleOf" => check_divisor(value, path)?,
            "enum" | "const" => self.instance(value, path, depth)?,
            _ => {}
        }
        Ok(())
    }

    fn below(
        &mut self,
        step: &str,
        member: &mut Value,
        path: &mut String,
        depth: usize,
    ) -> Result<(), Failure> {
        let len = path.len();
        path.push_str(step);
        self.schema(member, path, depth + 1)?;
        path.truncate(len);
        Ok(())
    }

    fn instance(&mut self, value: &Value, path: &str, depth: usize) -> Result<(), Failure> {
        let is_leaf = !value.is_array() && !value.is_object();
        self.count(if is_leaf { 1 } else { NODE_WEIGHT }, path, depth)?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.instance(item, path, depth + 1)),
            Value::Object(members) => {
                members.values().try_for_each(|item| self.instance(item, path, depth + 1))
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, weight: usize, path: &str, depth: usize) -> Result<(), Failure> {
        self.weight += weight;
        if depth > MAX_DEPTH {
            return Err(Failure::invalid(format!("the JSON schema nests deeper than {MAX_DEPTH} levels")));
        }
        if self.weight > MAX_WEIGHT {
            return Err(Failure::invalid(format!("the JSON schema has too many parts, at {path}")));
        }
        Ok(())
    }

    /// llguidance checks that no two patterns of an object overlap.
    fn count_patterns(&mut self, num_patterns: usize, path: &str) -> Result<(), Failure> {
        self.num_pattern_pairs += num_patterns * num_patterns;
        if self.num_pattern_pairs > MAX_PATTERN_PAIRS {
            return Err(Failure::invalid(format!("{path}: too many 'patternProperties'")));
        }
        Ok(())
    }
}

/// The digits of the number without its decimal point are what counts.
fn check_divisor(value: &Value, path: &str) -> Result<(), Failure> {
    let digits = value.to_string().replace(['.', '-'], "");
    let digits = digits.trim_start_matches('0');
    if value.is_number() && digits.parse::<u64>().is_ok_and(|divisor| divisor <= MAX_DIVISOR) {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "{path}: 'multipleOf' must be a number of at most {MAX_DIVISOR} without its decimal point"
    )))
}

/// A keyword that demands nothing need not be understood.
fn is_vacuous(keyword: &str, value: &Value) -> bool {
    match keyword {
        "uniqueItems" => *value == Value::Bool(false),
        "unevaluatedItems" | "unevaluatedProperties" => *value == Value::Bool(true),
        _ => false,
    }
}

/// llguidance knows no exclusive or; anyOf admits the same texts but those that fit two branches.
fn treat_one_of_as_any_of(object: &mut Map<String, Value>) {
    let Some(branches) = object.remove("oneOf") else { return };
    if !object.contains_key("anyOf") {
        object.insert("anyOf".to_owned(), branches);
        return;
    }
    let both = json!({"anyOf": branches});
    match object.get_mut("allOf") {
        Some(Value::Array(members)) => members.push(both),
        _ => {
            object.insert("allOf".to_owned(), json!([both]));
        }
    }
}

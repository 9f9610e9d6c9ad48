//! How much work llguidance will have with a schema. It intersects what stands side by side in one schema object
//! (type, enum, allOf, anyOf, $ref, …) by copying and pairing their branches, which grows with products:
//!
//!   {"allOf": [{"anyOf": [a, b]}, {"anyOf": [c, d]}]}  ->  a∧c | a∧d | b∧c | b∧d

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::ffi::Failure;

const MAX_WORK: u64 = 50_000;
/// Levels of schemas within schemas, references followed.
const MAX_DEPTH: u64 = 256;
/// The intersection of regular expressions is explored state by state.
const MAX_PATTERNS: u64 = 3;
/// The sum over all objects of the square of the number of their properties.
const MAX_PROPERTY_PAIRS: u64 = 500_000;
const ALL_TYPES: u64 = 6;
/// Means "unbounded" where expanding a reference never ends.
const ENDLESS: u64 = u64::MAX;

const SIMPLE_KEYWORDS: [&str; 20] = [
    "type",
    "items",
    "additionalItems",
    "prefixItems",
    "minItems",
    "maxItems",
    "properties",
    "additionalProperties",
    "patternProperties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
];

/// Refuses schemas whose intersections take long.
pub fn check(schema: &Value) -> Result<(), Failure> {
    let mut survey =
        Survey { root: schema, known: HashMap::new(), open: HashSet::new(), work: 0, property_pairs: 0 };
    survey.shape(schema)?;
    Ok(())
}

#[derive(Clone, Copy)]
struct Shape {
    /// Branches of its outermost alternatives.
    width: u64,
    /// Parts, references counting as one.
    size: u64,
    /// Parts with all references replaced by what they name.
    expanded: u64,
    /// Whether it says something of the members of objects or arrays.
    deep: bool,
    /// Regular expressions that one string must match together.
    patterns: u64,
    depth: u64,
}

const LEAF: Shape = Shape { width: 1, size: 1, expanded: 1, deep: false, patterns: 0, depth: 1 };

struct Survey<'a> {
    root: &'a Value,
    known: HashMap<*const Value, Shape>,
    open: HashSet<*const Value>,
    work: u64,
    property_pairs: u64,
}

impl<'a> Survey<'a> {
    fn shape(&mut self, schema: &'a Value) -> Result<Shape, Failure> {
        let Value::Object(object) = schema else { return Ok(LEAF) };
        let key: *const Value = schema;
        if let Some(shape) = self.known.get(&key) {
            return Ok(*shape);
        }
        if !self.open.insert(key) {
            return Ok(Shape { expanded: ENDLESS, deep: true, ..LEAF });
        }
        let parts = self.conjuncts(object)?;
        let mut shape = self.intersection(&parts)?;
        shape.depth += 1;
        if shape.depth > MAX_DEPTH {
            return Err(Failure::invalid(format!(
                "the JSON schema nests deeper than {MAX_DEPTH} levels by $ref"
            )));
        }
        self.open.remove(&key);
        self.known.insert(key, shape);
        Ok(shape)
    }

    /// What is intersected within one schema object.
    fn conjuncts(&mut self, object: &'a Map<String, Value>) -> Result<Vec<Shape>, Failure> {
        let mut parts = Vec::new();
        if SIMPLE_KEYWORDS.iter().any(|keyword| object.contains_key(*keyword))
            || object.contains_key("multipleOf")
        {
            parts.push(self.simple(object)?);
        }
        if let Some(instance) = object.get("const") {
            parts.push(instance_shape(instance));
        }
        if let Some(Value::Array(instances)) = object.get("enum") {
            parts.push(alternatives(instances.iter().map(instance_shape)));
        }
        if let Some(Value::Array(members)) = object.get("allOf") {
            for member in members {
                parts.push(self.shape(member)?);
            }
        }
        if let Some(Value::Array(members)) = object.get("anyOf") {
            let shapes = members.iter().map(|member| self.shape(member)).collect::<Result<Vec<_>, _>>()?;
            parts.push(alternatives(shapes.into_iter()));
        }
        if let Some(target) = object.get("$ref").and_then(Value::as_str).and_then(|path| self.resolve(path)) {
            parts.push(self.shape(target)?);
        }
        for keyword in ["$defs", "definitions"] {
            if let Some(Value::Object(members)) = object.get(keyword) {
                for member in members.values() {
                    self.shape(member)?;
                }
            }
        }
        Ok(parts)
    }

    /// Types and the keywords that belong to a type.
    fn simple(&mut self, object: &'a Map<String, Value>) -> Result<Shape, Failure> {
        let width = match object.get("type") {
            Some(Value::Array(types)) => types.len() as u64,
            Some(_) => 1,
            None => ALL_TYPES,
        };
        let weight_of = |keyword: &str| if keyword == "multipleOf" { 2 } else { 1 };
        let expressions = ["pattern", "format", "multipleOf"].into_iter();
        let patterns: usize =
            expressions.filter(|keyword| object.contains_key(*keyword)).map(weight_of).sum();
        if let Some(Value::Object(members)) = object.get("properties") {
            self.property_pairs += (members.len() * members.len()) as u64;
            if self.property_pairs > MAX_PROPERTY_PAIRS {
                return Err(Failure::invalid("the JSON schema has too many properties"));
            }
        }
        let mut shape = Shape { width, size: width, expanded: width, patterns: patterns as u64, ..LEAF };
        let mut add = |member: Shape| {
            shape.size = shape.size.saturating_add(member.size);
            shape.expanded = shape.expanded.saturating_add(member.expanded);
            shape.deep = true;
            shape.depth = shape.depth.max(member.depth);
        };
        for keyword in ["properties", "patternProperties"] {
            if let Some(Value::Object(members)) = object.get(keyword) {
                for member in members.values() {
                    add(self.shape(member)?);
                }
            }
        }
        for keyword in ["items", "prefixItems", "additionalItems", "additionalProperties"] {
            match object.get(keyword) {
                Some(Value::Array(members)) => {
                    for member in members {
                        add(self.shape(member)?);
                    }
                }
                Some(member @ Value::Object(_)) => add(self.shape(member)?),
                _ => {}
            }
        }
        Ok(shape)
    }

    fn intersection(&mut self, parts: &[Shape]) -> Result<Shape, Failure> {
        match parts {
            [] => return Ok(LEAF),
            [one] => return Ok(*one),
            _ => {}
        }
        // References are opened only where two parts speak of members.
        let opens_references = parts.iter().filter(|part| part.deep).count() > 1;
        let width = parts.iter().fold(1u64, |product, part| product.saturating_mul(part.width.max(1)));
        let mut size = 0u64;
        let mut expanded = 0u64;
        for part in parts {
            let copies = width / part.width.max(1);
            size = size.saturating_add(part.size.saturating_mul(copies));
            expanded = expanded.saturating_add(part.expanded.saturating_mul(copies));
        }
        let work = if opens_references { expanded } else { size };
        self.work = self.work.saturating_add(work);
        if self.work > MAX_WORK {
            let reason = if work == ENDLESS {
                "it combines schemas that refer to themselves (allOf, or $ref beside other keywords)"
            } else {
                "its combinations of allOf, anyOf, oneOf, enum and $ref have too many cases"
            };
            return Err(Failure::invalid(format!("the JSON schema is too complex: {reason}")));
        }
        let patterns = parts.iter().map(|part| part.patterns).sum();
        if patterns > MAX_PATTERNS {
            return Err(Failure::invalid(format!(
                "the JSON schema combines more than {MAX_PATTERNS} patterns and formats for one string"
            )));
        }
        Ok(Shape {
            width,
            size: work.max(size),
            expanded,
            deep: parts.iter().any(|part| part.deep),
            patterns,
            depth: parts.iter().map(|part| part.depth).max().unwrap_or(0),
        })
    }

    /// As llguidance does: "#", or a path of keys and indices below it.
    fn resolve(&self, reference: &str) -> Option<&'a Value> {
        if reference == "#" || reference == "#/" {
            return Some(self.root);
        }
        let mut value = self.root;
        for step in reference.strip_prefix("#/")?.split('/') {
            value = match value {
                Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
                other => other.get(step)?,
            };
        }
        Some(value)
    }
}

fn alternatives(shapes: impl Iterator<Item = Shape>) -> Shape {
    let nothing = Shape { width: 0, size: 0, expanded: 0, ..LEAF };
    shapes.fold(nothing, |sum, shape| Shape {
        width: sum.width.saturating_add(shape.width),
        size: sum.size.saturating_add(shape.size),
        expanded: sum.expanded.saturating_add(shape.expanded),
        deep: sum.deep || shape.deep,
        patterns: sum.patterns.max(shape.patterns),
        depth: sum.depth.max(shape.depth),
    })
}

fn instance_shape(instance: &Value) -> Shape {
    let size = instance_size(instance);
    Shape { size, expanded: size, deep: instance.is_object() || instance.is_array(), ..LEAF }
}

fn instance_size(instance: &Value) -> u64 {
    match instance {
        Value::Array(items) => 1 + items.iter().map(instance_size).sum::<u64>(),
        Value::Object(members) => 1 + members.values().map(instance_size).sum::<u64>(),
        _ => 1,
    }
}

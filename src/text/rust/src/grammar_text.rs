//! Texts of grammars -> Lark in llguidance's dialect.

use serde_json::Value;

use crate::ffi::Failure;
use crate::gbnf;
use crate::json_schema::{self, Whitespace};

const MAX_CHOICES: usize = 4096;
/// Of a grammar without the schemas in it: its compiler recurses along chains of rules.
const MAX_GRAMMAR_BYTES: usize = 64 << 10;
const MAX_NESTING: usize = 200;
/// The intersection of regular expressions (&) is explored state by state.
const MAX_INTERSECTIONS: usize = 8;

/// `text`: a JSON array of strings.
pub fn choice(text: &str) -> Result<String, Failure> {
    let choices: Vec<String> = serde_json::from_str(text)
        .map_err(|error| Failure::invalid(format!("the choices are no array of strings: {error}")))?;
    if choices.is_empty() || choices.len() > MAX_CHOICES {
        return Err(Failure::invalid(format!(
            "there must be 1 to {MAX_CHOICES} choices, got {}",
            choices.len()
        )));
    }
    if choices.iter().any(String::is_empty) {
        return Err(Failure::invalid("a choice is empty"));
    }
    let literals: Vec<String> = choices.iter().map(|choice| literal(choice)).collect();
    Ok(format!("start: CHOICE\nCHOICE: {}\n", literals.join(" | ")))
}

/// A string of Lark; its escapes are JSON's.
pub fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// `text`: GBNF if it has "::=", else Lark.
pub fn grammar(text: &str, whitespace: &Whitespace) -> Result<String, Failure> {
    if text.contains("::=") {
        check_bounds(text)?;
        return gbnf::to_lark(text);
    }
    let mut lark = String::with_capacity(text.len());
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("%json") {
        let (before, after) = rest.split_at(at + "%json".len());
        lark.push_str(before);
        plain.push_str(before);
        rest = after;
        if let Some((schema, len)) = leading_json(after) {
            lark.push(' ');
            lark.push_str(&json_schema::prepare(schema, whitespace)?.to_string());
            rest = &after[len..];
        }
    }
    lark.push_str(rest);
    plain.push_str(rest);
    check_bounds(&plain)?;
    Ok(lark)
}

fn leading_json(text: &str) -> Option<(Value, usize)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = stream.next()?.ok()?;
    Some((value, stream.byte_offset()))
}

fn check_bounds(text: &str) -> Result<(), Failure> {
    if text.len() > MAX_GRAMMAR_BYTES {
        return Err(Failure::invalid(format!(
            "the grammar has {} bytes; at most {MAX_GRAMMAR_BYTES} are supported",
            text.len()
        )));
    }
    if text.bytes().filter(|&byte| byte == b'&').count() > MAX_INTERSECTIONS {
        return Err(Failure::invalid(format!("the grammar has more than {MAX_INTERSECTIONS} '&'")));
    }
    let mut depth = 0usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(Failure::invalid(format!("the grammar nests deeper than {MAX_NESTING} levels")));
        }
    }
    Ok(())
}

//! Texts of grammars -> Lark in llguidance's dialect.

use serde_json::Value;

use crate::ffi::Failure;
use crate::gbnf::{self, literal};
use crate::json_schema::{self, Whitespace};
use crate::source_bounds::check_grammar;

const MAX_CHOICES: usize = 4096;

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

/// `text`: GBNF if it has "::=", else Lark.
pub fn grammar(text: &str, whitespace: &Whitespace) -> Result<String, Failure> {
    if text.contains("::=") {
        check_grammar(text)?;
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
    check_grammar(&plain)?;
    Ok(lark)
}

fn leading_json(text: &str) -> Option<(Value, usize)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = stream.next()?.ok()?;
    Some((value, stream.byte_offset()))
}

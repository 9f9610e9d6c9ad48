//! How large the texts of clients' regular expressions and grammars may be.

use crate::ffi::Failure;

/// Automata of expressions can grow with the square of their length.
const MAX_REGEX_BYTES: usize = 4 << 10;
/// Of a grammar without the schemas in it: its compiler recurses along chains of rules.
const MAX_GRAMMAR_BYTES: usize = 64 << 10;
const MAX_NESTING: usize = 200;
/// The intersection of regular expressions (&) is explored state by state.
const MAX_INTERSECTIONS: usize = 8;

pub fn check_regex(text: &str) -> Result<(), Failure> {
    if text.len() <= MAX_REGEX_BYTES {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "the regular expression has {} bytes; at most {MAX_REGEX_BYTES} are supported",
        text.len()
    )))
}

pub fn check_grammar(text: &str) -> Result<(), Failure> {
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

//! Rewrites what Hugging Face's Jinja accepts and minijinja's syntax lacks, before a template is compiled:
//! - `'…' % value` on a string literal becomes `'…'|format(value)`;
//! - {% generation %} … {% endgeneration %}, which marks an assistant's text for training, becomes a plain block.

use std::iter::Peekable;
use std::str::CharIndices;

pub fn rewrite(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        let (text, tag) = rest.split_at(start);
        out.push_str(text);
        let len = match tag.as_bytes().get(1) {
            Some(b'#') => tag.find("#}").map_or(tag.len(), |end| end + 2),
            Some(b'%') => rewrite_block(tag, &mut out),
            Some(b'{') => {
                let len = tag_len(tag, "}}");
                rewrite_formats(&tag[..len], &mut out);
                len
            }
            _ => 1,
        };
        if matches!(tag.as_bytes().get(1), Some(b'%' | b'{')) {
            rest = &tag[len..];
            continue;
        }
        out.push_str(&tag[..len]);
        rest = &tag[len..];
    }
    out.push_str(rest);
    out
}

/// Returns the length of what was rewritten: the tag, or all up to {% endraw %}.
fn rewrite_block(tag: &str, out: &mut String) -> usize {
    let len = tag_len(tag, "%}");
    let word = tag[2..len].trim_end_matches("%}");
    match word.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
        "generation" => out.push_str(&tag[..len].replacen("generation", "if true", 1)),
        "endgeneration" => out.push_str(&tag[..len].replacen("endgeneration", "endif", 1)),
        "raw" => {
            let end = tag[len..].find("endraw").map_or(tag.len(), |end| len + end);
            out.push_str(&tag[..end]);
            return end;
        }
        _ => rewrite_formats(&tag[..len], out),
    }
    len
}

/// Up to and with `close`, which does not count inside string literals.
fn tag_len(tag: &str, close: &str) -> usize {
    let mut chars = tag.char_indices().peekable();
    chars.nth(1);
    while let Some((at, character)) = chars.next() {
        if character == '"' || character == '\'' {
            skip_string(&mut chars, character);
        } else if tag[at..].starts_with(close) {
            return at + close.len();
        }
    }
    tag.len()
}

fn skip_string(chars: &mut Peekable<CharIndices<'_>>, quote: char) {
    while let Some((_, character)) = chars.next() {
        if character == '\\' {
            chars.next();
        } else if character == quote {
            return;
        }
    }
}

fn rewrite_formats(tag: &str, out: &mut String) {
    let mut copied = 0;
    let mut chars = tag.char_indices().peekable();
    while let Some((_, character)) = chars.next() {
        if character != '"' && character != '\'' {
            continue;
        }
        skip_string(&mut chars, character);
        let end = chars.peek().map_or(tag.len(), |(at, _)| *at);
        let Some(operand) = tag[end..].trim_start().strip_prefix('%').filter(|after| !after.starts_with('}'))
        else {
            continue;
        };
        let begin = tag.len() - operand.trim_start().len();
        let stop = begin + operand_len(&tag[begin..]);
        out.push_str(&tag[copied..end]);
        out.push_str("|format(");
        // A tuple in parentheses becomes the arguments.
        let arguments = &tag[begin..stop];
        let mut inner = String::new();
        rewrite_formats(enclosed(arguments).unwrap_or(arguments), &mut inner);
        out.push_str(&inner);
        out.push(')');
        copied = stop;
        while chars.next_if(|(at, _)| *at < stop).is_some() {}
    }
    out.push_str(&tag[copied..]);
}

/// What stands in one pair of parentheses around all of the text.
fn enclosed(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    (group_len(text) == text.len()).then_some(inner)
}

/// A name, literal or group with what follows it directly: attributes, items, calls and filters.
fn operand_len(text: &str) -> usize {
    let mut len = 0;
    loop {
        let rest = &text[len..];
        let Some(first) = rest.chars().next() else { return len };
        let piece = match first {
            '(' | '[' | '{' => group_len(rest),
            '"' | '\'' => {
                let mut chars = rest.char_indices().peekable();
                chars.next();
                skip_string(&mut chars, first);
                chars.peek().map_or(rest.len(), |(at, _)| *at)
            }
            '.' | '|' => 1,
            '-' if len == 0 => 1,
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
            }
            ' ' if text[..len].ends_with('|') || rest.trim_start().starts_with('|') => 1,
            _ => return len,
        };
        len += piece;
    }
}

/// A bracketed group, with its brackets.
fn group_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut chars = text.char_indices().peekable();
    while let Some((at, character)) = chars.next() {
        match character {
            '"' | '\'' => skip_string(&mut chars, character),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

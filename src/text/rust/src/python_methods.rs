//! Methods of Python's strings that minijinja-contrib lacks.

use std::collections::HashSet;

use minijinja::value::{Tuple, Value, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

use crate::value_weight::{BYTES_PER_NODE, charge_nodes, weigh};

pub fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        match string_method(state, text, method, args) {
            Err(error) if error.kind() == ErrorKind::UnknownMethod => {}
            result => return result,
        }
    }
    pycompat::unknown_method_callback(state, value, method, args)
}

fn string_method(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        "format" => {
            charge_format(state, text, args)?;
            Err(Error::from(ErrorKind::UnknownMethod))
        }
        "strip" | "lstrip" | "rstrip" => strip(state, text, method, args),
        "partition" | "rpartition" => partition(text, method, args),
        "rsplit" => rsplit(text, args),
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(args)?;
            let at = if method == "index" { text.find(part) } else { text.rfind(part) };
            let at = at.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "substring not found"))?;
            Ok(text[..at].chars().count().into())
        }
        "ljust" | "rjust" | "center" | "zfill" => pad(state, text, method, args),
        "casefold" => {
            let () = from_args(args)?;
            Ok(text.to_lowercase().into())
        }
        "swapcase" => {
            let () = from_args(args)?;
            let swap = |character: char| -> String {
                if character.is_uppercase() {
                    character.to_lowercase().collect()
                } else {
                    character.to_uppercase().collect()
                }
            };
            Ok(text.chars().map(swap).collect::<String>().into())
        }
        "isdecimal" => {
            let () = from_args(args)?;
            Ok((!text.is_empty() && text.chars().all(|character| character.is_ascii_digit())).into())
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// Each field may show an argument as a whole, and more if it has a width or a precision.
fn charge_format(state: &State, format: &str, args: &[Value]) -> Result<(), Error> {
    const MAX_DIGITS: usize = 4;
    let mut num_nodes = 1;
    for arg in args {
        num_nodes += weigh(state, arg)?;
    }
    let (mut num_fields, mut width) = (0_u64, 0_u64);
    for field in format.split('{').skip(1) {
        num_fields += 1;
        let field = field.split('}').next().unwrap_or_default();
        if field.ends_with([':', '<', '>', '^', '.']) {
            return Err(Error::new(ErrorKind::InvalidOperation, "a width or precision must be a number"));
        }
        for digits in field.split(|c: char| !c.is_ascii_digit()) {
            if digits.len() > MAX_DIGITS {
                return Err(Error::new(ErrorKind::InvalidOperation, "a width or precision is too large"));
            }
            width += digits.parse().unwrap_or(0);
        }
    }
    charge_nodes(state, num_fields.saturating_mul(num_nodes).saturating_add(width / BYTES_PER_NODE as u64))
}

fn strip(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (chars,): (Option<&str>,) = from_args(args)?;
    Ok(match method {
        "strip" => trimmed(state, text, chars)?,
        "lstrip" => trimmed_start(state, text, chars)?,
        _ => trimmed_end(state, text, chars)?,
    }
    .into())
}

/// The text without these characters, or white space, at both ends.
pub fn trimmed<'a>(state: &State, text: &'a str, chars: Option<&str>) -> Result<&'a str, Error> {
    trimmed_end(state, trimmed_start(state, text, chars)?, chars)
}

fn trimmed_start<'a>(state: &State, text: &'a str, chars: Option<&str>) -> Result<&'a str, Error> {
    let Some(chars) = chars else { return Ok(text.trim_start()) };
    let set = char_set(state, chars)?;
    Ok(text.trim_start_matches(|c| set.contains(&c)))
}

fn trimmed_end<'a>(state: &State, text: &'a str, chars: Option<&str>) -> Result<&'a str, Error> {
    let Some(chars) = chars else { return Ok(text.trim_end()) };
    let set = char_set(state, chars)?;
    Ok(text.trim_end_matches(|c| set.contains(&c)))
}

fn char_set(state: &State, chars: &str) -> Result<HashSet<char>, Error> {
    state.consume_fuel((chars.len() / 8) as u64)?;
    Ok(chars.chars().collect())
}

fn partition(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(args)?;
    if separator.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    let parts = match method {
        "partition" => {
            text.split_once(separator).map_or([text, "", ""], |(left, right)| [left, separator, right])
        }
        _ => text.rsplit_once(separator).map_or(["", "", text], |(left, right)| [left, separator, right]),
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX - 1);
    let mut parts: Vec<&str> = match separator {
        Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        Some(separator) => text.rsplitn(most + 1, separator).collect(),
        None => rsplit_space(text, most),
    };
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}

fn rsplit_space(text: &str, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end();
    while !rest.is_empty() && parts.len() < most {
        let start =
            rest.char_indices().rev().find(|(_, c)| c.is_whitespace()).map_or(0, |(at, c)| at + c.len_utf8());
        parts.push(&rest[start..]);
        rest = rest[..start].trim_end();
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

fn pad(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (width, fill): (i64, Option<&str>) = from_args(args)?;
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    state.consume_fuel((missing / 64) as u64)?;
    let fill = fill.unwrap_or(if method == "zfill" { "0" } else { " " });
    if fill.chars().count() != 1 {
        return Err(Error::new(ErrorKind::InvalidOperation, "the fill character must be one character"));
    }
    let padding = |count: usize| fill.repeat(count);
    Ok(match method {
        "ljust" => text.to_owned() + &padding(missing),
        "rjust" => padding(missing) + text,
        "zfill" => {
            let sign = usize::from(text.starts_with(['+', '-']));
            text[..sign].to_owned() + &padding(missing) + &text[sign..]
        }
        _ => {
            // As Python rounds: an odd one goes left if the width is odd.
            let left = missing / 2 + (missing & usize::try_from(width).unwrap_or(0) & 1);
            padding(left) + text + &padding(missing - left)
        }
    }
    .into())
}

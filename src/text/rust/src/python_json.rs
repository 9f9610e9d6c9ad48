//! Python's json.dumps over template values, as Hugging Face's `tojson` filter calls it.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Values nest no deeper; deeper ones would overflow the stack.
const MAX_DEPTH: usize = 256;

pub struct Style {
    pub ensure_ascii: bool,
    /// One step of indentation; None: all on one line.
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
}

/// The text of a float in Python: shortest digits, an exponent below 1e-4 and from 1e16 on.
pub fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

pub fn dumps(state: &State, value: &Value, style: &Style) -> Result<String, Error> {
    let mut out = String::new();
    write_value(state, value, style, 0, &mut out)?;
    Ok(out)
}

fn write_value(
    state: &State,
    value: &Value,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::new(ErrorKind::InvalidOperation, "the value is nested too deeply for JSON"));
    }
    // A list that holds another twice, and so on, has far more items than the template took steps.
    state.consume_fuel(1)?;
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number_text(value)),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            state.consume_fuel((text.len() / 64) as u64)?;
            write_string(text, style.ensure_ascii, out);
        }
        ValueKind::Seq | ValueKind::Iterable => write_list(state, value, style, depth, out)?,
        ValueKind::Map => write_map(state, value, style, depth, out)?,
        kind => {
            let message = format!("a value of type {kind} is not JSON serializable");
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
    }
    Ok(())
}

fn number_text(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let number = f64::try_from(value.clone()).unwrap_or(f64::NAN);
    match number {
        n if n.is_nan() => "NaN".to_owned(),
        n if n.is_infinite() => if n > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        n => float_repr(n),
    }
}

fn write_list(
    state: &State,
    value: &Value,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let mut separator = Separator::new('[', depth);
    for item in value.try_iter()? {
        separator.before_item(state, style, out)?;
        write_value(state, &item, style, depth + 1, out)?;
    }
    separator.close(']', style, out);
    Ok(())
}

fn write_map(
    state: &State,
    value: &Value,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let mut members = Vec::new();
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        members.push((key_text(&key)?, item));
    }
    if style.sort_keys {
        members.sort_by(|(left, _), (right, _)| left.cmp(right));
    }
    let mut separator = Separator::new('{', depth);
    for (key, item) in &members {
        separator.before_item(state, style, out)?;
        write_string(key, style.ensure_ascii, out);
        out.push_str(&style.key_separator);
        write_value(state, item, style, depth + 1, out)?;
    }
    separator.close('}', style, out);
    Ok(())
}

fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Number => Ok(number_text(key)),
        kind => Err(Error::new(ErrorKind::InvalidOperation, format!("a JSON key cannot be a {kind}"))),
    }
}

/// What stands between the items of a list or an object.
struct Separator {
    open: char,
    depth: usize,
    any: bool,
}

impl Separator {
    fn new(open: char, depth: usize) -> Self {
        Separator { open, depth, any: false }
    }

    fn before_item(&mut self, state: &State, style: &Style, out: &mut String) -> Result<(), Error> {
        let len_before = out.len();
        if self.any {
            out.push_str(&style.item_separator);
        } else {
            out.push(self.open);
        }
        self.any = true;
        new_line(style, self.depth + 1, out);
        state.consume_fuel(((out.len() - len_before) / 64) as u64)
    }

    fn close(&self, close: char, style: &Style, out: &mut String) {
        if self.any {
            new_line(style, self.depth, out);
        } else {
            out.push(self.open);
        }
        out.push(close);
    }
}

fn new_line(style: &Style, depth: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    }
}

fn write_string(text: &str, ensure_ascii: bool, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", character as u32)),
            _ if ensure_ascii && !character.is_ascii() => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

//! Filters and functions as Hugging Face's and jinja2's Python code defines them, where minijinja's differ.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use crate::python_json::{Style, dumps};
use crate::python_methods::trimmed;
use crate::python_text::python_str;

/// The message of raise_exception, found again in the error's sources.
#[derive(Debug)]
pub struct RaisedByTemplate(pub String);

impl std::fmt::Display for RaisedByTemplate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for RaisedByTemplate {}

pub fn add_to(environment: &mut Environment) {
    environment.add_filter("tojson", tojson);
    environment.add_filter("truncate", truncate);
    environment.add_filter("center", center);
    environment.add_filter("trim", trim);
    environment.add_filter("string", string);
    environment.add_filter("float", float);
    environment.add_filter("sum", sum);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment.add_filter("wordcount", wordcount);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
}

fn raise_exception(state: &State, message: Value) -> Result<Value, Error> {
    let message = python_str(state, &message)?;
    let error = Error::new(ErrorKind::InvalidOperation, "raised by the template");
    Err(error.with_source(RaisedByTemplate(message)))
}

/// Arguments by position or by name, as Python functions take them.
struct Arguments {
    positional: std::vec::IntoIter<Value>,
    kwargs: Kwargs,
}

impl Arguments {
    fn new(args: Rest<ValueOrKwargs>) -> Result<Self, Error> {
        let args = args.into_values();
        let (positional, kwargs): (&[Value], Kwargs) = from_args(&args)?;
        Ok(Arguments { positional: positional.to_vec().into_iter(), kwargs })
    }

    /// The next parameter; None if it is not given or is none.
    fn next(&mut self, name: &str) -> Result<Option<Value>, Error> {
        let value = match self.positional.next() {
            Some(value) => Some(value),
            None if self.kwargs.has(name) => Some(self.kwargs.get::<Value>(name)?),
            None => None,
        };
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    }

    fn next_flag(&mut self, name: &str) -> Result<bool, Error> {
        Ok(self.next(name)?.is_some_and(|value| value.is_true()))
    }

    fn next_size(&mut self, name: &str, default: usize) -> Result<usize, Error> {
        self.next(name)?.map_or(Ok(default), usize::try_from)
    }

    fn finish(mut self) -> Result<(), Error> {
        if self.positional.next().is_some() {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        self.kwargs.assert_all_used()
    }
}

fn tojson(state: &State, value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut args = Arguments::new(args)?;
    let ensure_ascii = args.next_flag("ensure_ascii")?;
    let indent = args.next("indent")?.map(|indent| indent_text(&indent)).transpose()?;
    let separators = args.next("separators")?.map(|pair| separator_texts(&pair)).transpose()?;
    let sort_keys = args.next_flag("sort_keys")?;
    args.finish()?;
    let item_separator = if indent.is_some() { "," } else { ", " };
    let [item_separator, key_separator] = separators.unwrap_or([item_separator.to_owned(), ": ".to_owned()]);
    let text =
        dumps(state, value, &Style { ensure_ascii, indent, item_separator, key_separator, sort_keys })?;
    Ok(text.into())
}

fn separator_texts(pair: &Value) -> Result<[String; 2], Error> {
    let texts: Vec<String> =
        pair.try_iter()?.take(3).map(|text| text.as_str().unwrap_or_default().to_owned()).collect();
    texts
        .try_into()
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, "separators must be a pair of strings"))
}

fn indent_text(value: &Value) -> Result<String, Error> {
    const MAX_INDENT: i64 = 64;
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let width = match value.kind() {
        ValueKind::Bool => i64::from(value.is_true()),
        _ => i64::try_from(value.clone())?,
    };
    if width > MAX_INDENT {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("indent must be at most {MAX_INDENT}")));
    }
    Ok(" ".repeat(usize::try_from(width).unwrap_or(0)))
}

fn truncate(text: String, args: Rest<ValueOrKwargs>) -> Result<String, Error> {
    let mut args = Arguments::new(args)?;
    let length = args.next_size("length", 255)?;
    let killwords = args.next_flag("killwords")?;
    let end = args.next("end")?.map_or("...".to_owned(), |end| end.to_string());
    let leeway = args.next_size("leeway", 5)?;
    args.finish()?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let kept = length
        .checked_sub(end.chars().count())
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "expected length >= the length of 'end'"))?;
    let cut: String = text.chars().take(kept).collect();
    let cut =
        if killwords { cut.as_str() } else { cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words) };
    Ok(cut.to_owned() + &end)
}

fn trim(state: &State, value: &Value, chars: Option<String>) -> Result<String, Error> {
    let text = python_str(state, value)?;
    Ok(trimmed(state, &text, chars.as_deref())?.to_owned())
}

fn string(state: &State, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        return Ok(value.clone());
    }
    let text = python_str(state, value)?;
    Ok(text.into())
}

/// Unlike minijinja, jinja2 does not iterate over none.
fn is_iterable(value: &Value) -> bool {
    let kind = value.kind();
    matches!(
        kind,
        ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Undefined
    )
}

/// To Python, whatever has a length and items: strings and dicts too.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map)
}

fn float(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut args = Arguments::new(args)?;
    let default = args.next("default")?.unwrap_or_else(|| Value::from(0.0));
    args.finish()?;
    let number = match value.as_str() {
        Some(text) => text.trim().parse::<f64>().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(number.map_or(default, Value::from))
}

/// Of numbers; adding up lists would copy them over and over.
fn sum(state: &State, values: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut args = Arguments::new(args)?;
    let attribute = args.next("attribute")?;
    let start = args.next("start")?.unwrap_or_else(|| Value::from(0));
    args.finish()?;
    let mut total = start;
    for item in values.try_iter()?.checked() {
        state.consume_fuel(1)?;
        let item = match &attribute {
            Some(key) => item?.get_item(key)?,
            None => item?,
        };
        total = add_numbers(&total, &item)?;
    }
    Ok(total)
}

fn add_numbers(left: &Value, right: &Value) -> Result<Value, Error> {
    let failure = || Error::new(ErrorKind::InvalidOperation, "sum adds numbers only");
    if left.kind() != ValueKind::Number || right.kind() != ValueKind::Number {
        return Err(failure());
    }
    if let (Ok(a), Ok(b), true) =
        (i128::try_from(left.clone()), i128::try_from(right.clone()), left.is_integer() && right.is_integer())
    {
        return a.checked_add(b).map(Value::from).ok_or_else(failure);
    }
    Ok(Value::from(f64::try_from(left.clone())? + f64::try_from(right.clone())?))
}

fn center(state: &mut State, text: String, width: Option<i64>) -> Result<Value, Error> {
    crate::python_methods::call(state, &text.into(), "center", &[width.unwrap_or(80).into()])
}

fn wordcount(text: String) -> usize {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).count()
}

/// The local time, formatted by the C library as Python's strftime is.
fn strftime_now(format: &str) -> Result<String, Error> {
    const MAX_TEXT: usize = 1024;
    let failure = || Error::new(ErrorKind::InvalidOperation, "strftime_now: the format is too long");
    // strftime() gives 0 for an empty text too, so one character goes in front.
    let format = std::ffi::CString::new(format!(".{format}")).map_err(|_| failure())?;
    let mut text = vec![0_u8; MAX_TEXT];
    let len = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&now, &mut parts).is_null() {
            return Err(failure());
        }
        libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &parts)
    };
    if len == 0 {
        return Err(failure());
    }
    Ok(String::from_utf8_lossy(&text[1..len]).into_owned())
}

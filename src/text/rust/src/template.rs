//! Chat templates: Jinja as Hugging Face's transformers runs it, bounded in work and depth.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;

use minijinja::machinery::{eval, get_compiled_template, make_string_output};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, escape_formatter};
use serde_json::Value as Json;

use crate::ffi::Failure;
use crate::python_filters::{self, RaisedByTemplate};
use crate::python_text::python_str;
use crate::value_weight::{is_compound, weigh};
use crate::{guards, namespaces, python_methods, python_syntax};

const NAME: &str = "chat template";
/// Steps of one rendering, and one for each 64 bytes that it makes and each 2 values that it walks through (guards.rs):
/// a chat of a thousand messages takes about 100,000.
const FUEL: u64 = 1_000_000;
/// Calls of macros within macros. Each level takes some kilobytes of stack.
const MAX_RECURSION: usize = 100;
/// Real templates have up to some ten thousand bytes.
const MAX_SOURCE_BYTES: usize = 256 << 10;
/// Parsing recurses with the nesting of a template's expressions. Within the fuel a template can nest lists a few
/// 100,000 deep, and dropping them recurses. Only touched pages take memory.
const STACK_BYTES: usize = 512 << 20;

pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    pub fn compile(source: &str) -> Result<Self, Failure> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Failure::invalid(format!("the chat template has {} bytes", source.len())));
        }
        on_large_stack(|| Self::compile_here(source))
    }

    fn compile_here(source: &str) -> Result<Self, Failure> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| Failure::invalid(error.to_string()))?;
        environment.set_syntax(syntax);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_RECURSION);
        environment.set_debug(false);
        environment.set_unknown_method_callback(python_methods::call);
        environment.set_formatter(write_value);
        minijinja_contrib::add_to_environment(&mut environment);
        python_filters::add_to(&mut environment);
        guards::add_to(&mut environment);
        namespaces::add_to(&mut environment);
        environment
            .add_template_owned(NAME, python_syntax::rewrite(source))
            .map_err(|error| Failure::invalid(describe(&error)))?;
        Ok(ChatTemplate { environment })
    }

    pub fn render(&self, context_json: &[u8]) -> Result<String, Failure> {
        on_large_stack(|| self.render_here(context_json))
    }

    fn render_here(&self, context_json: &[u8]) -> Result<String, Failure> {
        let context_json = std::str::from_utf8(context_json)
            .map_err(|_| Failure::invalid("the text of a message is not UTF-8; convert it first"))?;
        let mut context: Json = serde_json::from_str(context_json)
            .map_err(|error| Failure::invalid(format!("the template's context is no JSON: {error}")))?;
        complete(&mut context)?;
        let template =
            self.environment.get_template(NAME).map_err(|error| Failure::invalid(describe(&error)))?;
        let program = guards::guard(&get_compiled_template(&template).instructions, template.source(), NAME);
        let list = Arc::default();
        let variables = namespaces::with_list(Value::from(Serde(&context)), &list);
        let mut text = String::new();
        let mut out = make_string_output(&mut text);
        let result =
            eval(&self.environment, &program, variables, &BTreeMap::new(), &mut out, AutoEscape::None)
                .map(|_| ())
                .map_err(|error| Failure::invalid(describe(&error)));
        drop(out);
        namespaces::empty(&self.environment, &list);
        result.map(|()| text)
    }
}

fn on_large_stack<T: Send>(body: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("template".to_owned()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, body) {
            Ok(thread) => thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)),
            Err(error) => Err(Failure::invalid(format!("no thread for the chat template: {error}"))),
        }
    })
}

/// What transformers adds to the variables before it renders.
fn complete(context: &mut Json) -> Result<(), Failure> {
    let Json::Object(variables) = context else {
        return Err(Failure::invalid("the template's context must be a JSON object"));
    };
    for name in ["tools", "documents"] {
        variables.entry(name).or_insert(Json::Null);
    }
    if let Some(Json::Array(messages)) = variables.get_mut("messages") {
        for message in messages.iter_mut().filter_map(Json::as_object_mut) {
            if let Some(reasoning) = message.get("reasoning_content").cloned() {
                message.entry("thinking").or_insert(reasoning);
            }
        }
    }
    Ok(())
}

/// Python writes numbers and containers differently.
fn write_value(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Map => {
            let text = python_str(state, value)?;
            out.write_str(&text).map_err(Error::from)
        }
        _ => {
            if is_compound(value) {
                weigh(state, value)?;
            }
            escape_formatter(out, state, value)
        }
    }
}

/// The template's own message if it raised the error, else what went wrong, and where.
fn describe(error: &Error) -> String {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(raised) = inner.downcast_ref::<RaisedByTemplate>() {
            return raised.0.clone();
        }
        source = inner.source();
    }
    let line = error.line().map_or(String::new(), |line| format!(", line {line}"));
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    format!("{NAME}{line}: {}{detail}", error.kind())
}

//! Rewrites a compiled template so that what minijinja does within one instruction is paid for by size: operators,
//! filters and methods go through functions of this file, which weigh their operands. The names of these functions
//! begin with a zero byte.

use std::borrow::Cow;

use minijinja::machinery::{Instruction, Instructions};
use minijinja::value::{Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State};

use crate::python_text::python_str;
use crate::value_weight::{
    BYTES_PER_NODE, charge_nodes, is_compound, weigh, weigh_comparison, without_views,
};

const ARGUMENTS: &str = "\0arguments";
const CONCAT: &str = "\0concat";
const FILTER: &str = "\0filter";
const ITERATED: &str = "\0iterated";
const CONTAINER: &str = "\0container";
const KEY: &str = "\0key";
const KEYS: &str = "\0keys";
const METHOD: &str = "\0method";
const NO_VIEW: &str = "\0no_view";
const OPERANDS: &str = "\0operands";

/// Filters that look at a value's outside only, or pay for their walk themselves.
const FREE_FILTERS: [&str; 15] = [
    "count", "d", "default", "first", "float", "int", "items", "last", "length", "list", "safe", "string",
    "tojson", "trim", "abs",
];
/// Filters that run another filter or test, with the same arguments, on each item.
const MAPPING_FILTERS: [&str; 5] = ["map", "reject", "rejectattr", "select", "selectattr"];
/// Filters that use their arguments, such as the path of an attribute, once for each item.
const ITEM_FILTERS: [&str; 8] = ["dictsort", "groupby", "join", "max", "min", "sort", "sum", "unique"];
/// Methods of dicts that do not walk the dict's values.
const FREE_METHODS: [&str; 4] = ["get", "items", "keys", "values"];
/// Splitting takes some 30 times a text's size.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// Of minijinja: the filter is looked up at each use.
const NOT_CACHED: u8 = u8::MAX;

pub fn add_to(environment: &mut Environment) {
    environment.add_filter(CONCAT, concat);
    environment.add_filter(CONTAINER, container);
    environment.add_filter(FILTER, apply_filter);
    environment.add_filter(ITERATED, iterated);
    environment.add_filter(KEY, key);
    environment.add_filter(KEYS, keys);
    environment.add_filter(METHOD, call_method);
    environment.add_filter(OPERANDS, operands);
    environment.add_filter(ARGUMENTS, arguments);
    environment.add_filter(NO_VIEW, without_views);
    let comparisons: [(&[&str], Comparison); 7] = [
        (&["eq", "equalto", "=="], |left, right| left == right),
        (&["ne", "!="], |left, right| left != right),
        (&["lt", "lessthan", "<"], |left, right| left < right),
        (&["le", "<="], |left, right| left <= right),
        (&["gt", "greaterthan", ">"], |left, right| left > right),
        (&["ge", ">="], |left, right| left >= right),
        (&["sameas"], minijinja::tests::is_sameas),
    ];
    for (names, holds) in comparisons {
        for name in names {
            environment.add_test(*name, paid_comparison(holds));
        }
    }
    environment.add_test("in", contained);
    environment.add_test("startingwith", is_startingwith);
    environment.add_test("endingwith", is_endingwith);
    environment.add_test("lower", is_lower);
    environment.add_test("upper", is_upper);
    environment.remove_global("debug");
}

type Comparison = fn(&Value, &Value) -> bool;

fn paid_comparison(
    holds: Comparison,
) -> impl Fn(&State, &Value, &Value) -> Result<bool, Error> + Send + Sync + 'static {
    move |state: &State, left: &Value, right: &Value| {
        weigh_comparison(state, left, right)?;
        Ok(holds(left, right))
    }
}

fn is_startingwith(state: &State, text: &Value, part: &Value) -> Result<bool, Error> {
    Ok(shown(state, text)?.starts_with(shown(state, part)?.as_ref()))
}

fn is_endingwith(state: &State, text: &Value, part: &Value) -> Result<bool, Error> {
    Ok(shown(state, text)?.ends_with(shown(state, part)?.as_ref()))
}

fn is_lower(state: &State, value: &Value) -> Result<bool, Error> {
    weigh(state, value)?;
    Ok(minijinja::tests::is_lower(value))
}

fn is_upper(state: &State, value: &Value) -> Result<bool, Error> {
    weigh(state, value)?;
    Ok(minijinja::tests::is_upper(value))
}

fn shown<'a>(state: &State, value: &'a Value) -> Result<Cow<'a, str>, Error> {
    match value.as_str() {
        Some(text) => {
            weigh(state, value)?;
            Ok(Cow::Borrowed(text))
        }
        None => {
            if value.kind() == ValueKind::Iterable {
                weigh(state, value)?;
            }
            Ok(Cow::Owned(python_str(state, value)?))
        }
    }
}

/// The operator `in`.
fn contained(state: &State, value: &Value, container: &Value) -> Result<bool, Error> {
    match container.kind() {
        ValueKind::Undefined => Ok(false),
        ValueKind::String => {
            weigh(state, container)?;
            Ok(container.as_str().unwrap_or_default().contains(shown(state, value)?.as_ref()))
        }
        ValueKind::Map => {
            weigh(state, value)?;
            Ok(container.as_object().is_some_and(|map| map.get_value(value).is_some()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            for item in container.try_iter()?.checked() {
                let item = item?;
                charge_nodes(state, 2)?;
                weigh_comparison(state, value, &item)?;
                if item == *value {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ if container.as_object().is_some() => Ok(false),
        _ => Err(Error::new(ErrorKind::InvalidOperation, "cannot perform a containment check on this value")),
    }
}

/// The operator `~`.
fn concat(state: &State, left: &Value, right: &Value) -> Result<String, Error> {
    let (left, right) = (shown(state, left)?, shown(state, right)?);
    state.consume_fuel(((left.len() + right.len()) / 64) as u64)?;
    Ok([left.as_ref(), right.as_ref()].concat())
}

/// Of a chained comparison.
fn operands(state: &State, operands: Value) -> Result<Value, Error> {
    weigh(state, &operands)?;
    Ok(operands)
}

/// Of a function, which may be a loop that starts again (see `iterated`).
fn arguments(state: &State, arguments: Value) -> Result<Value, Error> {
    for argument in arguments.try_iter()? {
        state.consume_fuel((argument.as_str().map_or(0, str::len) / 64) as u64)?;
        iterated(state, argument.into())?;
    }
    Ok(arguments)
}

/// Starting a loop over a text counts and copies it (see `container`); some maps copy their keys.
fn iterated(state: &State, value: ValueOrKwargs) -> Result<Value, Error> {
    let value = value.into_value();
    if value.kind() == ValueKind::Map {
        charge_nodes(state, value.len().unwrap_or(0) as u64)?;
    }
    Ok(value)
}

/// Counting the characters of a text takes its length, which minijinja charges for the operand of a filter.
fn container(value: Value) -> Value {
    value
}

fn key(state: &State, value: Value) -> Result<Value, Error> {
    if is_compound(&value) {
        weigh(state, &value)?;
    }
    Ok(value)
}

/// Of keys and values in turn: the keys of a dict must be simple, as in Python.
fn keys(state: &State, pairs: Value) -> Result<Value, Error> {
    for key in pairs.try_iter()?.step_by(2) {
        if is_compound(&key) && !key.is_tuple() {
            let message = format!("the key of a dict cannot be a {}", key.kind());
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        weigh(state, &key)?;
    }
    Ok(pairs)
}

fn check_text(value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if text.len() > MAX_TEXT_BYTES => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("a text of {} bytes is too long", text.len()),
        )),
        _ => Ok(()),
    }
}

/// How often a filter walks through its arguments, beside once. `num_nodes`: of the first one.
fn num_argument_uses(name: &str, args: &[Value], num_nodes: u64) -> u64 {
    let inner = args.get(1).and_then(Value::as_str).unwrap_or_default();
    match args.first() {
        Some(text) if name == "format" => text.as_str().map_or(0, |text| text.matches('%').count() as u64),
        Some(_) if name == "map" && inner == "format" => num_nodes.saturating_mul(BYTES_PER_NODE as u64),
        Some(_) if name == "map" && MAPPING_FILTERS.contains(&inner) => num_nodes,
        Some(list) if MAPPING_FILTERS.contains(&name) || ITEM_FILTERS.contains(&name) => {
            list.len().unwrap_or(1) as u64
        }
        _ => 0,
    }
}

fn apply_filter(state: &mut State, args: Value, name: &str) -> Result<Value, Error> {
    let args: Vec<Value> = args.try_iter()?.collect();
    let first = args.first().unwrap_or(&Value::UNDEFINED);
    check_text(first)?;
    let num_nodes = weigh(state, first)?;
    let mut num_argument_nodes = 0;
    for arg in args.iter().skip(1) {
        num_argument_nodes += weigh(state, arg)?;
    }
    let num_uses = num_argument_uses(name, &args, num_nodes);
    charge_nodes(state, num_uses.saturating_mul(num_argument_nodes))?;
    let result = state.apply_filter(name, &args).map_err(|error| match error.kind() {
        ErrorKind::UnknownFilter if error.detail().is_none() => {
            Error::new(ErrorKind::UnknownFilter, format!("filter {name} is unknown"))
        }
        _ => error,
    })?;
    without_views(state, result)
}

fn call_method(state: &mut State, args: Value, name: &str) -> Result<Value, Error> {
    let args: Vec<Value> = args.try_iter()?.collect();
    let (receiver, args) = args.split_first().ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
    check_text(receiver)?;
    if let Some(text) = receiver.as_str() {
        state.consume_fuel((text.len() / 64) as u64)?;
    } else if receiver.kind() != ValueKind::Map || !FREE_METHODS.contains(&name) {
        weigh(state, receiver)?;
    }
    for arg in args {
        weigh(state, arg)?;
    }
    let result = receiver.call_method(state, name, args)?;
    without_views(state, result)
}

/// The same program with guards.
pub fn guard<'env>(program: &Instructions<'env>, source: &'env str, name: &'env str) -> Instructions<'env> {
    let old: Vec<&Instruction<'env>> = (0..).map_while(|at| program.get(at)).collect();
    let mut new = Vec::with_capacity(2 * old.len());
    let mut moved = Vec::with_capacity(old.len() + 1);
    for (at, instruction) in old.iter().enumerate() {
        moved.push(new.len() as u32);
        let first = new.len();
        add_guarded(instruction, at.checked_sub(1).map(|before| old[before]), &mut |added| {
            new.push((at, added))
        });
        debug_assert!(new.len() > first);
    }
    moved.push(new.len() as u32);
    let mut out = Instructions::new(name, source);
    for (at, mut instruction) in new {
        match &mut instruction {
            Instruction::Jump(target)
            | Instruction::JumpIfFalse(target)
            | Instruction::JumpIfFalseOrPop(target)
            | Instruction::JumpIfTrueOrPop(target)
            | Instruction::Iterate(target)
            | Instruction::BuildMacro(_, target, _) => *target = moved[*target as usize],
            _ => {}
        }
        let at = at as u32;
        match (program.get_span(at), program.get_line(at)) {
            (Some(span), _) => out.add_with_span(instruction, span),
            (None, Some(line)) => out.add_with_line(instruction, u16::try_from(line).unwrap_or(u16::MAX)),
            (None, None) => out.add(instruction),
        };
    }
    out
}

fn filter(name: &'static str, num_args: u16) -> Instruction<'static> {
    Instruction::ApplyFilter(name, Some(num_args), NOT_CACHED)
}

fn test(name: &'static str) -> Instruction<'static> {
    Instruction::PerformTest(name, Some(2), NOT_CACHED)
}

/// All arguments, gathered in a list, and a name go to one of the functions above.
fn add_call<'env>(
    num_args: Option<u16>,
    name: &str,
    function: &'static str,
    add: &mut impl FnMut(Instruction<'env>),
) {
    add(Instruction::BuildList(num_args.map(usize::from)));
    add(Instruction::LoadConst(Value::from(name.split_whitespace().collect::<String>())));
    add(filter(function, 2));
}

/// The topmost values go to one of the functions above, and back.
fn add_check<'env>(count: usize, function: &'static str, add: &mut impl FnMut(Instruction<'env>)) {
    add(Instruction::BuildList(Some(count)));
    add(filter(function, 1));
    add(Instruction::UnpackLists(1));
    add(Instruction::DiscardTop);
}

fn add_guarded<'env>(
    instruction: &Instruction<'env>,
    before: Option<&Instruction<'env>>,
    add: &mut impl FnMut(Instruction<'env>),
) {
    use minijinja::machinery::Instruction as I;
    match instruction {
        I::ApplyFilter(name, num_args, _) if !FREE_FILTERS.contains(name) => {
            add_call(*num_args, name, FILTER, add);
        }
        I::CallMethod(name, num_args) => add_call(*num_args, name, METHOD, add),
        I::CompareAndPreserve(_) => {
            add_check(2, OPERANDS, add);
            add(instruction.clone());
        }
        I::Eq => add(test("==")),
        I::Ne => add(test("!=")),
        I::Gt => add(test(">")),
        I::Gte => add(test(">=")),
        I::Lt => add(test("<")),
        I::Lte => add(test("<=")),
        I::In => add(test("in")),
        I::StringConcat => add(filter(CONCAT, 2)),
        I::Add | I::Mul => {
            add(instruction.clone());
            add(filter(NO_VIEW, 1));
        }
        I::Slice => {
            add_check(4, ARGUMENTS, add);
            add(I::Slice);
            add(filter(NO_VIEW, 1));
        }
        I::BuildMap(num_pairs) => {
            add_check(2 * num_pairs, KEYS, add);
            add(instruction.clone());
        }
        I::MergeKwargs(count) => {
            add_check(*count, ARGUMENTS, add);
            add(instruction.clone());
        }
        I::GetItem => {
            if !matches!(before, Some(I::LoadConst(key)) if key.kind() == ValueKind::String) {
                add(filter(KEY, 1));
                add(I::Swap);
                add(filter(CONTAINER, 1));
                add(I::Swap);
            }
            add(I::GetItem);
        }
        // The function may be the loop, which starts again then.
        I::PushLoop(_) | I::FastRecurse | I::CallFunction(_, Some(1)) => {
            add(filter(ITERATED, 1));
            add(instruction.clone());
        }
        I::CallFunction(_, Some(count @ 2..)) => {
            add_check(usize::from(*count), ARGUMENTS, add);
            add(instruction.clone());
        }
        I::CallFunction(_, None) => {
            add(I::BuildList(None));
            add(filter(ARGUMENTS, 1));
            add(I::UnpackLists(1));
            add(instruction.clone());
        }
        _ => add(instruction.clone()),
    }
}

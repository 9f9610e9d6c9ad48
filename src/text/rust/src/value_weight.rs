//! What a walk through a value costs. Values share their parts (a list may hold another twice, and so on), so a few
//! steps of a template can build one whose walk would take years: everything that walks one pays for it before.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Values that are compared, joined and so on nest no deeper.
const MAX_DEPTH: usize = 256;
const NODES_PER_FUEL: u64 = 2;
pub const BYTES_PER_NODE: usize = 64;
/// Fuel is taken in portions of this many nodes.
const PORTION: u64 = 64;

/// Charges for walking `value` as a whole; returns the number of its nodes, shared ones as often as they are met.
pub fn weigh(state: &State, value: &Value) -> Result<u64, Error> {
    let mut scale = Scale { state, num_nodes: 0, num_unpaid: 0 };
    scale.add(value, 0)?;
    let num_nodes = scale.num_nodes;
    charge_nodes(state, scale.num_unpaid)?;
    Ok(num_nodes)
}

pub fn charge_nodes(state: &State, num_nodes: u64) -> Result<(), Error> {
    match num_nodes {
        0 => Ok(()),
        n => state.consume_fuel(n.div_ceil(NODES_PER_FUEL)),
    }
}

struct Scale<'a, 'template, 'env> {
    state: &'a State<'template, 'env>,
    num_nodes: u64,
    num_unpaid: u64,
}

impl Scale<'_, '_, '_> {
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, "a value is nested too deeply"));
        }
        match value.kind() {
            ValueKind::String => self.pay(1 + value.as_str().map_or(0, str::len) / BYTES_PER_NODE),
            ValueKind::Seq | ValueKind::Iterable => {
                self.pay(1)?;
                value.try_iter()?.try_for_each(|item| self.add(&item, depth + 1))
            }
            ValueKind::Map => {
                self.pay(1)?;
                value.try_iter()?.try_for_each(|key| {
                    self.add(&key, depth + 1)?;
                    self.add(&value.get_item(&key)?, depth + 1)
                })
            }
            _ => self.pay(1),
        }
    }

    fn pay(&mut self, num_nodes: usize) -> Result<(), Error> {
        self.num_nodes += num_nodes as u64;
        self.num_unpaid += num_nodes as u64;
        if self.num_unpaid < PORTION {
            return Ok(());
        }
        charge_nodes(self.state, std::mem::take(&mut self.num_unpaid))
    }
}

/// Whether a value has parts, or is of a kind that does not tell.
pub fn is_compound(value: &Value) -> bool {
    !matches!(
        value.kind(),
        ValueKind::Undefined | ValueKind::None | ValueKind::Bool | ValueKind::Number | ValueKind::String
    )
}

/// Charges for comparing two values: the walk ends where the smaller one does.
pub fn weigh_comparison(state: &State, left: &Value, right: &Value) -> Result<(), Error> {
    if left.kind() == ValueKind::String && right.kind() == ValueKind::String {
        let len = |text: &Value| text.as_str().map_or(0, str::len);
        return charge_nodes(state, (len(left).min(len(right)) / BYTES_PER_NODE) as u64);
    }
    if is_compound(left) && is_compound(right) {
        weigh(state, right)?;
    }
    Ok(())
}

/// Views of other values, such as slices, become lists: a view of a view, thousands of times over, would make each
/// look at it dear.
pub fn without_views(state: &State, value: Value) -> Result<Value, Error> {
    if value.kind() != ValueKind::Iterable {
        return Ok(value);
    }
    let mut items = Vec::new();
    for item in value.try_iter()?.checked() {
        if items.len() % 2 == 0 {
            state.consume_fuel(1)?;
        }
        items.push(item?);
    }
    Ok(Value::from(items))
}

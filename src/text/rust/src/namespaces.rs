//! The template's namespaces, emptied when the rendering ends: one that holds itself, through whatever, would never be
//! freed, since minijinja counts references.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::machinery::{Instruction, Instructions, eval, make_string_output};
use minijinja::value::{Enumerator, Object, Rest, Value, ValueOrKwargs, merge_maps};
use minijinja::{AutoEscape, Environment, Error, State};

/// The variable that holds the list; a template cannot name it.
const LIST: &str = "\0namespaces";
const FUNCTION: &str = "namespace";
/// Emptied at once, so that the fuel suffices.
const CHUNK: usize = 10_000;

/// Of one rendering.
#[derive(Debug, Default)]
pub struct Namespaces(Mutex<Vec<Value>>);

impl Object for Namespaces {
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

/// Namespaces are kept in the list from then on.
pub fn add_to(environment: &mut Environment) {
    let original = environment.globals().find(|(name, _)| *name == FUNCTION).map(|(_, value)| value);
    let Some(original) = original else { return };
    environment.add_function(FUNCTION, move |state: &mut State, args: Rest<ValueOrKwargs>| {
        let namespace = original.call(state, &args.into_values())?;
        let list = state.lookup(LIST);
        if let Some(list) = list.as_ref().and_then(|list| list.downcast_object_ref::<Namespaces>()) {
            list.0.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.clone());
        }
        Ok::<Value, Error>(namespace)
    });
}

/// The variables of a rendering, with a list.
pub fn with_list(variables: Value, list: &Arc<Namespaces>) -> Value {
    let list = Value::from_dyn_object(Arc::clone(list));
    merge_maps([variables, Value::from(BTreeMap::from([(LIST.to_owned(), list)]))])
}

/// Sets every member of every namespace to none, by small programs: there is no other way to change one.
pub fn empty(environment: &Environment, list: &Namespaces) {
    let namespaces = std::mem::take(&mut *list.0.lock().unwrap_or_else(PoisonError::into_inner));
    let members: Vec<(Value, String)> = namespaces.iter().flat_map(members_of).collect();
    for chunk in members.chunks(CHUNK) {
        let mut program = Instructions::new(FUNCTION, "");
        for (namespace, name) in chunk {
            program.add(Instruction::LoadConst(Value::from(())));
            program.add(Instruction::LoadConst(namespace.clone()));
            program.add(Instruction::SetAttr(name));
        }
        let mut text = String::new();
        // It cannot fail: a namespace takes any member, and the fuel suffices.
        let _ = eval(
            environment,
            &program,
            Value::UNDEFINED,
            &BTreeMap::new(),
            &mut make_string_output(&mut text),
            AutoEscape::None,
        );
    }
}

fn members_of(namespace: &Value) -> Vec<(Value, String)> {
    let names = namespace.try_iter().into_iter().flatten();
    names.map(|name| (namespace.clone(), name.to_string())).collect()
}

//! Entry points of constraints.

use crate::constraint::{Constraint, ConstraintFactory, Source, SourceKind, Words};
use crate::ffi::{Failure, PgBuf, PgStatus, PgStr, guard, slice_of};
use crate::json_schema::Whitespace;
use crate::tokenizer_abi::PgTokenTable;

#[repr(C)]
pub struct PgConstraintSource {
    pub kind: u32,
    pub text: PgStr,
    /// Empty: none.
    pub whitespace_pattern: PgStr,
    pub compact_json: u8,
}

impl PgConstraintSource {
    unsafe fn source<'a>(&self) -> Result<Source<'a>, Failure> {
        let kind = match self.kind {
            0 => SourceKind::JsonSchema,
            1 => SourceKind::Regex,
            2 => SourceKind::Choice,
            3 => SourceKind::Grammar,
            other => return Err(Failure::internal(format!("constraint kind {other}"))),
        };
        let pattern = unsafe { self.whitespace_pattern.text("the whitespace pattern") }?;
        let whitespace = if !pattern.is_empty() {
            Whitespace::Pattern(pattern)
        } else if self.compact_json != 0 {
            Whitespace::None
        } else {
            Whitespace::SingleSpace
        };
        Ok(Source { kind, text: unsafe { self.text.text("the constraint") }?, whitespace })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_constraint_factory_new(
    table: &PgTokenTable,
    end_tokens: *const u32,
    num_end_tokens: usize,
    out: &mut *mut ConstraintFactory,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        let end_tokens = unsafe { slice_of(end_tokens, num_end_tokens) };
        let ends = unsafe { slice_of(table.ends, table.num_tokens) };
        let words = Words {
            bytes: unsafe { slice_of(table.bytes, ends.last().map_or(0, |&end| end as usize)) },
            ends,
            special: unsafe { slice_of(table.special, table.num_tokens) },
        };
        let factory = ConstraintFactory::new(&words, end_tokens)?;
        *out = Box::into_raw(Box::new(factory));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_constraint_factory_free(factory: *mut ConstraintFactory) {
    if !factory.is_null() {
        drop(unsafe { Box::from_raw(factory) });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_constraint_compile(
    factory: &ConstraintFactory,
    source: &PgConstraintSource,
    out: &mut *mut Constraint,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        let constraint = factory.compile(&unsafe { source.source() }?)?;
        *out = Box::into_raw(Box::new(constraint));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_constraint_clone(
    constraint: &Constraint,
    out: &mut *mut Constraint,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        *out = Box::into_raw(Box::new(constraint.duplicate()));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_constraint_free(constraint: *mut Constraint) {
    if !constraint.is_null() {
        drop(unsafe { Box::from_raw(constraint) });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_constraint_mask(
    constraint: &mut Constraint,
    words: *mut u32,
    num_words: usize,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || constraint.mask(unsafe { std::slice::from_raw_parts_mut(words, num_words) }))
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_constraint_allows(
    constraint: &mut Constraint,
    token: u32,
    out: &mut u8,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        *out = constraint.allows(token)?.into();
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_constraint_consume(
    constraint: &mut Constraint,
    token: u32,
    finished: &mut u8,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        constraint.consume(token)?;
        *finished = constraint.is_finished().into();
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_constraint_rollback(
    constraint: &mut Constraint,
    num_tokens: usize,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || constraint.rollback(num_tokens))
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_constraint_accepting(
    constraint: &mut Constraint,
    out: &mut u8,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        *out = constraint.is_accepting()?.into();
        Ok(())
    })
}

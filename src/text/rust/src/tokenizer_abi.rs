//! Entry points of tokenizers.

use crate::ffi::{Failure, PgBuf, PgIds, PgStatus, PgStr, give_text, guard, slice_of};
use crate::text_memory::collect_texts;
use crate::tokenizer::TextTokenizer;
use crate::vocabulary::Vocabulary;

#[repr(C)]
pub struct PgVocabulary {
    pub model: PgStr,
    pub pre: PgStr,
    pub tokens: *const PgStr,
    pub num_tokens: usize,
    pub scores: *const f32,
    pub num_scores: usize,
    pub types: *const i32,
    pub num_types: usize,
    pub merges: *const PgStr,
    pub num_merges: usize,
    pub unk_id: i32,
    pub add_space_prefix: u8,
}

/// Token i is bytes[ends[i - 1]..ends[i]]. Valid while the tokenizer lives.
#[repr(C)]
pub struct PgTokenTable {
    pub bytes: *const u8,
    pub ends: *const u32,
    pub special: *const u8,
    pub num_tokens: usize,
}

unsafe fn texts_of<'a>(data: *const PgStr, len: usize, what: &str) -> Result<Vec<&'a str>, Failure> {
    let text_of = |(index, text): (usize, &PgStr)| {
        std::str::from_utf8(unsafe { text.bytes() })
            .map_err(|_| Failure::corrupt(format!("{what} {index} is not UTF-8")))
    };
    let texts = unsafe { slice_of(data, len) };
    let mut checked = Vec::with_capacity(len);
    for text in texts.iter().enumerate().map(text_of) {
        checked.push(text?);
    }
    Ok(checked)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_tokenizer_new(
    spec: &PgVocabulary,
    out: &mut *mut TextTokenizer,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        let vocabulary = unsafe {
            Vocabulary {
                model: spec.model.text("the tokenizer model")?,
                pre: spec.pre.text("the pre-tokenizer")?,
                tokens: texts_of(spec.tokens, spec.num_tokens, "token")?,
                scores: slice_of(spec.scores, spec.num_scores),
                types: slice_of(spec.types, spec.num_types),
                merges: texts_of(spec.merges, spec.num_merges, "merge")?,
                unk_id: spec.unk_id,
                add_space_prefix: spec.add_space_prefix != 0,
            }
        };
        let tokenizer = collect_texts(|| -> Result<_, Failure> {
            let (tokenizer, table) = vocabulary.build()?;
            Ok(TextTokenizer::new(tokenizer, table))
        })?;
        *out = Box::into_raw(Box::new(tokenizer));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_tokenizer_from_json(
    json: PgStr,
    out: &mut *mut TextTokenizer,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        let tokenizer = collect_texts(|| TextTokenizer::from_json(unsafe { json.bytes() }))?;
        *out = Box::into_raw(Box::new(tokenizer));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_tokenizer_free(tokenizer: *mut TextTokenizer) {
    if !tokenizer.is_null() {
        drop(unsafe { Box::from_raw(tokenizer) });
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_tokenizer_table(tokenizer: &TextTokenizer) -> PgTokenTable {
    let table = tokenizer.table();
    PgTokenTable {
        bytes: table.bytes().as_ptr(),
        ends: table.ends().as_ptr(),
        special: table.special().as_ptr(),
        num_tokens: table.len(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_tokenizer_encode(
    tokenizer: &TextTokenizer,
    text: PgStr,
    specials_as_text: u8,
    out: &mut PgIds,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        let text = unsafe { text.text("the text") }?;
        out.set(tokenizer.encode(text, specials_as_text != 0)?);
        Ok(())
    })
}

/// Empty for ids without a token.
#[unsafe(no_mangle)]
pub extern "C" fn pg_tokenizer_token_text(
    tokenizer: &TextTokenizer,
    id: u32,
    out: &mut PgBuf,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        give_text(out, tokenizer.token_text(id).unwrap_or_default());
        Ok(())
    })
}

/// -1 if there is no such token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_tokenizer_find(
    tokenizer: &TextTokenizer,
    text: PgStr,
    out: &mut i64,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        let text = std::str::from_utf8(unsafe { text.bytes() }).ok();
        *out = text.and_then(|text| tokenizer.find(text)).map_or(-1, i64::from);
        Ok(())
    })
}

//! The bytes that each token stands for, in one block of memory.

use tokenizers::{DecoderWrapper, Tokenizer};

use crate::byte_level;
use crate::ffi::Failure;

/// More tokens than any vocabulary has; bounds the memory that a hostile id can ask for.
pub const MAX_TOKENS: usize = 1 << 24;

#[derive(Clone, Copy, PartialEq)]
pub enum Spelling {
    /// GPT-2's stand-ins for bytes.
    ByteLevel,
    /// "▁" for spaces, "<0x0A>" for single bytes.
    SentencePiece,
    /// Text as it is.
    Plain,
}

#[derive(Default)]
pub struct TokenTable {
    bytes: Vec<u8>,
    /// Token i is bytes[ends[i - 1]..ends[i]].
    ends: Vec<u32>,
    special: Vec<u8>,
}

impl TokenTable {
    pub fn with_capacity(num_tokens: usize, num_bytes: usize) -> TokenTable {
        TokenTable {
            bytes: Vec::with_capacity(num_bytes),
            ends: Vec::with_capacity(num_tokens),
            special: Vec::with_capacity(num_tokens),
        }
    }

    pub fn push(&mut self, token: &str, spelling: Spelling, special: bool) -> Result<(), Failure> {
        match spelling {
            Spelling::ByteLevel => byte_level::append_bytes(token, &mut self.bytes),
            Spelling::SentencePiece => match byte_token(token) {
                Some(byte) => self.bytes.push(byte),
                None => self.push_unescaped(token),
            },
            Spelling::Plain => self.bytes.extend_from_slice(token.as_bytes()),
        }
        let end = u32::try_from(self.bytes.len())
            .map_err(|_| Failure::corrupt("the vocabulary's tokens have more than 4 GiB of text"))?;
        self.ends.push(end);
        self.special.push(special.into());
        Ok(())
    }

    fn push_unescaped(&mut self, token: &str) {
        for (index, part) in token.split('▁').enumerate() {
            if index > 0 {
                self.bytes.push(b' ');
            }
            self.bytes.extend_from_slice(part.as_bytes());
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }
    pub fn special(&self) -> &[u8] {
        &self.special
    }

    /// From a tokenizer.json: its decoder says how tokens are spelled.
    pub fn of(tokenizer: &Tokenizer) -> Result<TokenTable, Failure> {
        let spelling = spelling_of(tokenizer.get_decoder())?;
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let vocab = tokenizer.get_vocab(true);
        let Some(max_id) = vocab.values().max() else {
            return Err(Failure::corrupt("the vocabulary is empty"));
        };
        if *max_id as usize >= MAX_TOKENS {
            return Err(Failure::corrupt(format!("token id {max_id} is out of range")));
        }
        let mut by_id: Vec<&str> = vec![""; *max_id as usize + 1];
        for (token, id) in &vocab {
            by_id[*id as usize] = token;
        }
        let mut table = TokenTable::default();
        for (id, token) in by_id.iter().enumerate() {
            match added.get(&(id as u32)) {
                Some(added) => table.push(&added.content, Spelling::Plain, added.special)?,
                None => table.push(token, spelling, false)?,
            }
        }
        Ok(table)
    }
}

/// "<0x0A>"
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

fn spelling_of(decoder: Option<&DecoderWrapper>) -> Result<Spelling, Failure> {
    match decoder {
        Some(DecoderWrapper::ByteLevel(_)) => Ok(Spelling::ByteLevel),
        Some(DecoderWrapper::Metaspace(_) | DecoderWrapper::ByteFallback(_) | DecoderWrapper::Replace(_)) => {
            Ok(Spelling::SentencePiece)
        }
        Some(DecoderWrapper::Fuse(_) | DecoderWrapper::Strip(_)) => Ok(Spelling::Plain),
        Some(DecoderWrapper::Sequence(sequence)) => {
            for step in sequence.get_decoders() {
                match spelling_of(Some(step))? {
                    Spelling::Plain => continue,
                    spelling => return Ok(spelling),
                }
            }
            Ok(Spelling::Plain)
        }
        _ => Err(Failure::unsupported(
            "tokenizer.json: only ByteLevel and sentencepiece-like decoders are known",
        )),
    }
}

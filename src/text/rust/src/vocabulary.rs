//! Builds tokenizers from the vocabulary arrays of GGUF files.

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence};
use tokenizers::{AddedToken, Tokenizer};

use crate::ffi::Failure;
use crate::pre_tokenizers;
use crate::token_table::{MAX_TOKENS, Spelling, TokenTable};

/// Longer tokens are taken for damage. Also bounds the work of finding merges, which tries every cut of a token.
const MAX_TOKEN_BYTES: usize = 1024;
/// sentencepiece vocabularies have about 2 merges for a token.
const MAX_MERGES_PER_TOKEN: usize = 32;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    fn of(code: i32) -> Option<Kind> {
        Some(match code {
            1 => Kind::Normal,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => return None,
        })
    }
}

pub struct Vocabulary<'a> {
    pub model: &'a str,
    pub pre: &'a str,
    pub tokens: Vec<&'a str>,
    pub scores: &'a [f32],
    pub types: &'a [i32],
    pub merges: Vec<&'a str>,
    pub unk_id: i32,
    pub add_space_prefix: bool,
}

impl Vocabulary<'_> {
    pub fn build(&self) -> Result<(Tokenizer, TokenTable), Failure> {
        let kinds = self.check()?;
        let byte_level = match self.model {
            "gpt2" => true,
            "llama" => false,
            other => {
                return Err(Failure::unsupported(format!(
                    "unknown tokenizer model '{other}'; known are gpt2 (byte-level BPE) and llama (sentencepiece BPE)"
                )));
            }
        };
        let mut tokenizer = if byte_level { self.byte_level()? } else { self.sentencepiece(&kinds)? };
        let added = self.tokens.iter().zip(&kinds).filter_map(|(token, kind)| match kind {
            Kind::Control => Some(AddedToken::from(*token, true).normalized(false)),
            Kind::UserDefined => Some(AddedToken::from(*token, false).normalized(false)),
            _ => None,
        });
        tokenizer.add_tokens(added).map_err(|error| Failure::corrupt(format!("special tokens: {error}")))?;
        let table = self.table(&kinds, byte_level)?;
        Ok((tokenizer, table))
    }

    fn check(&self) -> Result<Vec<Kind>, Failure> {
        let num_tokens = self.tokens.len();
        if num_tokens == 0 || num_tokens > MAX_TOKENS {
            return Err(Failure::corrupt(format!("the vocabulary has {num_tokens} tokens")));
        }
        for (array, len) in [("scores", self.scores.len()), ("types", self.types.len())] {
            if len != 0 && len != num_tokens {
                return Err(Failure::corrupt(format!(
                    "the vocabulary has {num_tokens} tokens, but {len} {array}"
                )));
            }
        }
        if let Some(id) = self.scores.iter().position(|score| score.is_nan()) {
            return Err(Failure::corrupt(format!("the score of token {id} is not a number")));
        }
        if let Some(id) = self.tokens.iter().position(|token| token.len() > MAX_TOKEN_BYTES) {
            return Err(Failure::corrupt(format!("token {id} has {} bytes", self.tokens[id].len())));
        }
        if self.types.is_empty() {
            return Ok(vec![Kind::Normal; num_tokens]);
        }
        let kind_of = |(id, code): (usize, &i32)| {
            Kind::of(*code).ok_or_else(|| Failure::corrupt(format!("token {id} has the unknown type {code}")))
        };
        self.types.iter().enumerate().map(kind_of).collect()
    }

    fn byte_level(&self) -> Result<Tokenizer, Failure> {
        let pre_tokenizer = pre_tokenizers::find(self.pre)?;
        let vocab = self.vocab();
        let longest = self.tokens.iter().map(|token| token.len()).max().unwrap_or(0);
        let mut merges = Merges::with_capacity(self.merges.len());
        for merge in &self.merges {
            // The builder looks both halves and the whole up, but trusts that no whole is longer than all tokens.
            let (left, right) = split_merge(merge)
                .filter(|(left, right)| left.len() + right.len() <= longest)
                .ok_or_else(|| Failure::corrupt(format!("merge {merge:?} is no pair of tokens")))?;
            merges.push((left.to_owned(), right.to_owned()));
        }
        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(pre_tokenizer.ignore_merges)
            .build()
            .map_err(|error| Failure::corrupt(format!("merges: {error}")))?;
        pre_tokenizer.assemble(model).map_err(|error| Failure::corrupt(error.to_string()))
    }

    fn sentencepiece(&self, kinds: &[Kind]) -> Result<Tokenizer, Failure> {
        if self.scores.len() != self.tokens.len() {
            return Err(Failure::corrupt("a sentencepiece vocabulary needs a score for each token"));
        }
        let vocab = self.vocab();
        let merges = self.merges_from_scores(kinds, &vocab)?;
        let mut builder = BPE::builder().vocab_and_merges(vocab, merges).byte_fallback(true).fuse_unk(true);
        if let Some(unknown) = self.unknown_token(kinds) {
            builder = builder.unk_token(unknown.to_owned());
        }
        let model = builder.build().map_err(|error| Failure::corrupt(format!("merges: {error}")))?;
        let escape = Replace::new(" ", "▁").map_err(|error| Failure::corrupt(error.to_string()))?;
        let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
        if self.add_space_prefix {
            normalizers.push(Prepend::new("▁".to_owned()).into());
        }
        normalizers.push(escape.into());
        let mut tokenizer = Tokenizer::new(model);
        tokenizer
            .with_normalizer(Some(Sequence::new(normalizers)))
            .map_err(|error| Failure::corrupt(error.to_string()))?;
        Ok(tokenizer)
    }

    fn unknown_token(&self, kinds: &[Kind]) -> Option<&str> {
        let by_id = usize::try_from(self.unk_id).ok();
        let id = by_id.or_else(|| kinds.iter().position(|kind| *kind == Kind::Unknown))?;
        self.tokens.get(id).copied()
    }

    /// Where a text occurs twice, the first token has it.
    fn vocab(&self) -> Vocab {
        let mut vocab = Vocab::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            vocab.entry((*token).to_owned()).or_insert(id as u32);
        }
        vocab
    }

    /// Every way to put a token together from two tokens, best score first; equal scores in the order of the tokens,
    /// then of their parts.
    fn merges_from_scores(&self, kinds: &[Kind], ids: &Vocab) -> Result<Merges, Failure> {
        let mut pairs: Vec<(u32, u32, u32)> = Vec::new(); // token, left, right
        for (id, token) in self.tokens.iter().enumerate() {
            if !matches!(kinds[id], Kind::Normal | Kind::UserDefined) {
                continue;
            }
            let first = pairs.len();
            for (cut, _) in token.char_indices().skip(1) {
                if let (Some(left), Some(right)) = (ids.get(&token[..cut]), ids.get(&token[cut..])) {
                    pairs.push((id as u32, *left, *right));
                }
            }
            pairs[first..].sort_unstable();
        }
        if pairs.len() > self.tokens.len().saturating_mul(MAX_MERGES_PER_TOKEN) {
            return Err(Failure::corrupt(format!(
                "the vocabulary's tokens can be merged in {} ways",
                pairs.len()
            )));
        }
        pairs.sort_by(|a, b| self.scores[b.0 as usize].total_cmp(&self.scores[a.0 as usize]));
        let text = |id: u32| self.tokens[id as usize].to_owned();
        Ok(pairs.iter().map(|(_, left, right)| (text(*left), text(*right))).collect())
    }

    fn table(&self, kinds: &[Kind], byte_level: bool) -> Result<TokenTable, Failure> {
        // No spelling is shorter than what it stands for.
        let num_bytes = self.tokens.iter().map(|token| token.len()).sum();
        let mut table = TokenTable::with_capacity(self.tokens.len(), num_bytes);
        for (token, kind) in self.tokens.iter().zip(kinds) {
            let spelling = match kind {
                Kind::Control | Kind::Unknown => Spelling::Plain,
                Kind::Byte => Spelling::SentencePiece,
                Kind::UserDefined if byte_level => Spelling::Plain,
                _ if byte_level => Spelling::ByteLevel,
                _ => Spelling::SentencePiece,
            };
            table.push(token, spelling, *kind == Kind::Control)?;
        }
        Ok(table)
    }
}

/// "left right". A token may itself begin with a space.
fn split_merge(merge: &str) -> Option<(&str, &str)> {
    let start = merge.chars().next()?.len_utf8();
    let space = start + merge[start..].find(' ')?;
    Some((&merge[..space], &merge[space + 1..]))
}

//! Which tokens may come next, by a grammar: llguidance over the vocabulary of one tokenizer.

use std::sync::Arc;

use llguidance::api::{GrammarWithLexer, ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{
    ApproximateTokEnv, INVALID_TOKEN, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie,
};
use llguidance::{Matcher, ParserFactory};

use crate::ffi::Failure;
use crate::grammar_text;
use crate::json_schema;
use crate::source_bounds::check_regex;
use crate::token_masks::TokenMasks;

/// Longer tokens exceed what a node of the trie can hold; no vocabulary at hand has any.
const MAX_TOKEN_BYTES: usize = 200;
/// Compilers recurse with the nesting of their input, which MAX_SOURCE_BYTES bounds.
const COMPILE_STACK_BYTES: usize = 256 << 20;
pub const MAX_SOURCE_BYTES: usize = 256 << 10;

/// Time of the processor that a sequence may spend at once, and what it gains with every token. Ordinary constraints
/// take a tenth of the gain; the steps of the engine must not wait for any other for long.
const BURST_US: u64 = 200_000;
const GAIN_US: u64 = 2_000;

/// What to spend on a grammar's states before its first sequence. In strings, masks are wide; of these so many in turn.
const WARM_US: u64 = 5_000;
const WARM_TOKENS: usize = 100;
const WIDE_MASK: usize = 1_000;
const MAX_WIDE_MASKS: usize = 8;

fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 800,
        initial_lexer_fuel: 200_000,
        step_lexer_fuel: 50_000,
        step_max_items: 50_000,
        max_lexer_states: 20_000,
        max_grammar_size: 100_000,
        precompute_large_lexemes: false,
        verbose_errors: false,
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum SourceKind {
    JsonSchema,
    Regex,
    /// A JSON array of strings.
    Choice,
    /// Lark in llguidance's dialect, or GBNF if it has "::=".
    Grammar,
}

pub struct Source<'a> {
    pub kind: SourceKind,
    pub text: &'a str,
    pub whitespace: json_schema::Whitespace<'a>,
}

/// A vocabulary: token i is bytes[ends[i - 1]..ends[i]].
pub struct Words<'a> {
    pub bytes: &'a [u8],
    pub ends: &'a [u32],
    pub special: &'a [u8],
}

impl Words<'_> {
    /// Special tokens stand under a byte that text never has; so would tokens that hold this byte, which therefore
    /// are left out and can never be allowed.
    fn word(&self, id: usize) -> Vec<u8> {
        let begin = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        let bytes = &self.bytes[begin..self.ends[id] as usize];
        if bytes.is_empty() || bytes.len() > MAX_TOKEN_BYTES || bytes.contains(&TokTrie::SPECIAL_TOKEN_MARKER)
        {
            return Vec::new();
        }
        if self.special[id] == 0 {
            return bytes.to_vec();
        }
        let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
        word.extend_from_slice(bytes);
        word
    }
}

pub struct ConstraintFactory {
    factory: ParserFactory,
    masks: Arc<TokenMasks>,
}

impl ConstraintFactory {
    /// `end_tokens` may follow wherever the grammar can end.
    pub fn new(table: &Words, end_tokens: &[u32]) -> Result<Self, Failure> {
        let words: Vec<Vec<u8>> = (0..table.ends.len()).map(|id| table.word(id)).collect();
        let info = TokRxInfo::new(words.len() as u32, end_tokens.first().copied().unwrap_or(INVALID_TOKEN));
        let mut trie = TokTrie::from(&info, &words);
        if !end_tokens.is_empty() {
            trie = trie.with_eos_tokens(end_tokens);
        }
        // Not canonical: tokens are never forced, so masks need no tokenizer.
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new(
            &env,
            InferenceCapabilities::default(),
            &llguidance::earley::SlicedBiasComputer::general_slices(),
        )
        .map_err(|error| Failure::unsupported(format!("constraints for this vocabulary: {error}")))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        let masks = Arc::new(TokenMasks::new(&env, factory.slicer()));
        Ok(ConstraintFactory { factory, masks })
    }

    pub fn compile(&self, source: &Source) -> Result<Constraint, Failure> {
        if source.text.len() > MAX_SOURCE_BYTES {
            return Err(Failure::invalid(format!(
                "it has {} bytes; at most {MAX_SOURCE_BYTES} are supported",
                source.text.len()
            )));
        }
        std::thread::scope(|scope| {
            let compile = || self.compile_here(source);
            let thread = std::thread::Builder::new().stack_size(COMPILE_STACK_BYTES);
            let running = thread
                .spawn_scoped(scope, compile)
                .map_err(|error| Failure::internal(format!("no thread to compile on: {error}")))?;
            running.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
        })
    }

    fn compile_here(&self, source: &Source) -> Result<Constraint, Failure> {
        let grammar = match source.kind {
            SourceKind::JsonSchema => GrammarWithLexer::from_json_schema(json_schema::prepare_text(
                source.text,
                &source.whitespace,
            )?),
            SourceKind::Regex => {
                check_regex(source.text)?;
                GrammarWithLexer::from_regex(source.text)
            }
            SourceKind::Choice => GrammarWithLexer::from_lark(grammar_text::choice(source.text)?),
            SourceKind::Grammar => {
                GrammarWithLexer::from_lark(grammar_text::grammar(source.text, &source.whitespace)?)
            }
        };
        let parser = self.factory.create_parser(TopLevelGrammar::from_grammar(grammar)).map(|mut parser| {
            parser.bias_computer = self.masks.clone();
            parser
        });
        let mut constraint = Constraint { matcher: Matcher::new(parser), allowance_us: BURST_US };
        if let Some(error) = constraint.matcher.get_error() {
            return Err(Failure::invalid(plain_message(&error)));
        }
        // The first mask tells what the grammar costs.
        constraint.mask(&mut [])?;
        constraint.warm();
        constraint.allowance_us = BURST_US;
        Ok(constraint)
    }
}

/// llguidance appends its state, and a backtrace to panics.
fn plain_message(error: &str) -> String {
    let end = ["\n<state>", "\n<non-verbose/>", "\n<backtrace>"]
        .iter()
        .filter_map(|mark| error.find(mark))
        .min()
        .unwrap_or(error.len());
    const MAX_CHARS: usize = 400;
    // The names that the library has for why it stopped say nothing to who wrote the grammar.
    let error = match &error[..end] {
        "NoExtension" | "NoExtensionBias" => "no text fits it: each rule needs a way to end",
        "LexerTooComplex" | "ParserTooComplex" => "it is too complex",
        other => other.trim_end_matches('.'),
    };
    let mut message: String = error.chars().take(MAX_CHARS).collect();
    if message.len() < error.len() {
        message.push('…');
    }
    message
}

/// The state of one sequence.
pub struct Constraint {
    matcher: Matcher,
    allowance_us: u64,
}

impl Constraint {
    /// Follows a text of the grammar's, so that sequences start from a lexer that has met its states already: else
    /// each of them would make them anew, in the steps of the engine.
    fn warm(&mut self) {
        let warmed = self.matcher.deep_clone();
        // Another state of the parser, the same lexer.
        let mut scout = Constraint { matcher: warmed.clone(), allowance_us: WARM_US };
        if scout.wander().is_ok() {
            self.matcher = warmed;
        }
    }

    /// Takes tokens at random until the text ends or enough is spent.
    fn wander(&mut self) -> Result<(), Failure> {
        let quote = self.matcher.tok_env().ok().and_then(|env| env.tok_trie().token_id(b"\""));
        let mut random = 1u32;
        let mut num_wide = 0;
        for _ in 0..WARM_TOKENS {
            if self.is_finished() {
                break;
            }
            let begin_us = thread_time_us();
            let mask = self.matcher.compute_mask().map_err(|error| failure_of(&error))?;
            let count = mask.num_set();
            num_wide = if count >= WIDE_MASK { num_wide + 1 } else { 0 };
            let ends_string = quote.filter(|&quote| num_wide > MAX_WIDE_MASKS && mask.is_allowed(quote));
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let Some(token) = ends_string.or_else(|| nth_token(&mask, random as usize % count.max(1))) else {
                break;
            };
            self.matcher.consume_token(token).map_err(|error| failure_of(&error))?;
            if self.charge(begin_us).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Independent of this one; none of the two waits for the other.
    pub fn duplicate(&self) -> Self {
        Constraint { matcher: self.matcher.deep_clone(), allowance_us: self.allowance_us }
    }

    /// Sets the bits of the tokens that may come next and clears all others, as far as `words` reach. None at all
    /// once the grammar is finished.
    pub fn mask(&mut self, words: &mut [u32]) -> Result<(), Failure> {
        words.fill(0);
        if self.is_finished() {
            return Ok(());
        }
        let begin_us = thread_time_us();
        let mask = self.matcher.compute_mask().map_err(|error| failure_of(&error))?;
        let mask = mask.as_slice();
        let len = words.len().min(mask.len());
        words[..len].copy_from_slice(&mask[..len]);
        self.charge(begin_us)
    }

    fn charge(&mut self, begin_us: u64) -> Result<(), Failure> {
        let spent_us = thread_time_us().saturating_sub(begin_us);
        if spent_us > self.allowance_us {
            return Err(Failure::invalid("the constraint takes too much work for each token"));
        }
        self.allowance_us -= spent_us;
        Ok(())
    }

    /// Whether a token may come next; much cheaper than a mask.
    pub fn allows(&mut self, token: u32) -> Result<bool, Failure> {
        if self.is_finished() {
            return Ok(false);
        }
        let is_end = self.matcher.tok_env().is_ok_and(|env| env.tok_trie().eos_tokens().contains(&token));
        if is_end {
            return self.is_accepting();
        }
        let count = self.matcher.validate_tokens(&[token]).map_err(|error| failure_of(&error))?;
        Ok(count == 1)
    }

    pub fn consume(&mut self, token: u32) -> Result<(), Failure> {
        let begin_us = thread_time_us();
        self.matcher.consume_token(token).map_err(|error| failure_of(&error))?;
        self.allowance_us = (self.allowance_us + GAIN_US).min(BURST_US);
        self.charge(begin_us)
    }

    pub fn rollback(&mut self, num_tokens: usize) -> Result<(), Failure> {
        self.matcher.rollback(num_tokens).map_err(|error| failure_of(&error))
    }

    /// The text so far is complete, though it may go on.
    pub fn is_accepting(&mut self) -> Result<bool, Failure> {
        if self.is_finished() {
            return Ok(true);
        }
        self.matcher.is_accepting().map_err(|error| failure_of(&error))
    }

    /// The text so far is complete, and nothing may follow.
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error() && self.matcher.stop_reason().is_ok()
    }
}

fn nth_token(mask: &SimpleVob, n: usize) -> Option<u32> {
    let mut left = n;
    let mut found = None;
    mask.iter_set_entries(|token| {
        if found.is_none() && left == 0 {
            found = Some(token as u32);
        }
        left = left.wrapping_sub(1);
    });
    found
}

/// Of the processor, so that a busy machine does not count.
fn thread_time_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

fn failure_of(error: &impl std::fmt::Display) -> Failure {
    Failure::invalid(plain_message(&error.to_string()))
}

//! Which tokens may come next. llguidance takes the tokens of plain text at once where a string goes on for long
//! enough; near the end of a string of bounded length it walks through all of them. Here they are told by their length.

use std::sync::Arc;

use llguidance::earley::{BiasComputer, ParserRecognizer, SlicedBiasComputer};
use llguidance::toktrie::{SimpleVob, TokEnv, TokTrie};

/// Bytes that stand for themselves in a JSON string.
const PLAIN: std::ops::RangeInclusive<u8> = b' '..=b'~';

fn is_plain(byte: u8) -> bool {
    PLAIN.contains(&byte) && byte != b'"' && byte != b'\\'
}

/// The slice of llguidance's that says that at least so many plain characters may follow, and its work at most.
pub const ENOUGH_PLAIN: &str = r#"[^"\\\x00-\x1F\x7F]{1,30}"#;
const SUBSUME_BUDGET: u64 = 1000;

pub struct TokenMasks {
    env: TokEnv,
    slicer: Arc<SlicedBiasComputer>,
    /// The place of ENOUGH_PLAIN among the slicer's slices.
    enough_plain: usize,
    /// Ascending lengths, and the tokens of plain bytes only that have at most so many.
    plain: Vec<(usize, SimpleVob)>,
    other: TokTrie,
}

impl TokenMasks {
    pub fn new(env: &TokEnv, slicer: Arc<SlicedBiasComputer>) -> Self {
        let trie = env.tok_trie();
        let mut by_length = std::collections::BTreeMap::new();
        let mut other = trie.alloc_token_set();
        for token in 0..trie.vocab_size() as u32 {
            let bytes = trie.token(token);
            if !bytes.is_empty() && bytes.iter().copied().all(is_plain) {
                by_length.entry(bytes.len()).or_insert_with(Vec::new).push(token);
            } else {
                other.allow_token(token);
            }
        }
        let mut tokens = trie.alloc_token_set();
        let mut plain = Vec::new();
        for (length, added) in by_length {
            added.into_iter().for_each(|token| tokens.allow_token(token));
            plain.push((length, tokens.clone()));
        }
        let enough_plain = slicer.extra_lexemes().iter().position(|slice| slice == ENOUGH_PLAIN);
        TokenMasks {
            env: env.clone(),
            enough_plain: enough_plain.expect("a slice of llguidance's"),
            slicer,
            plain,
            other: trie.filter(&other),
        }
    }

    /// How many plain bytes may follow, of whatever kind they are, and no more than these. None if it depends on them,
    /// if there may be more than any token has, or if a lexeme could end among them, so that the grammar has a say.
    fn plain_room(&self, rec: &mut ParserRecognizer<'_>) -> Option<usize> {
        let mut state = rec.lexer_state();
        let lexer = rec.lexer_mut();
        if !lexer.subsume_possible(state) {
            return None;
        }
        let longest = self.plain.last()?.0;
        for room in 0..=longest {
            // Then a byte leads to another state of the lexer, or to none, and no lexeme has ended.
            if !lexer.try_lexeme_end(state).is_error() {
                return None;
            }
            let mut next = PLAIN
                .filter(|&byte| is_plain(byte))
                .map(|byte| lexer.transition_start_state(state, Some(byte), &None));
            let first = next.next()?;
            if first.has_lowest_match() || next.any(|other| other != first) {
                return None;
            }
            if first.is_dead() {
                return Some(room);
            }
            if room == 0
                && lexer.check_subsume(state, self.enough_plain, SUBSUME_BUDGET, None).unwrap_or(false)
            {
                return None;
            }
            state = first;
        }
        None
    }
}

impl BiasComputer for TokenMasks {
    fn compute_bias(&self, rec: &mut ParserRecognizer<'_>, start: &[u8]) -> SimpleVob {
        let room = if start.is_empty() { self.plain_room(rec) } else { None };
        let Some(room) = room else {
            return self.slicer.compute_bias(rec, start);
        };
        let mut set = self.trie().alloc_token_set();
        let fitting = self.plain.partition_point(|(length, _)| *length <= room);
        if let Some((_, tokens)) = fitting.checked_sub(1).map(|last| &self.plain[last]) {
            set.or(tokens);
        }
        self.other.add_bias(rec, &mut set, &[]);
        set
    }

    fn trie(&self) -> &TokTrie {
        self.env.tok_trie()
    }
}

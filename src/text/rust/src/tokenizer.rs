//! A tokenizer that encodes in both ways at once: special tokens in a text become tokens, or stay text.

use tokenizers::{AddedVocabulary, Model, OffsetReferential, OffsetType, PreTokenizer, Tokenizer};

use crate::ffi::Failure;
use crate::token_table::TokenTable;

pub struct TextTokenizer {
    tokenizer: Tokenizer,
    /// The same added tokens, but special ones are not searched for.
    added_as_text: AddedVocabulary,
    table: TokenTable,
}

impl TextTokenizer {
    pub fn new(tokenizer: Tokenizer, table: TokenTable) -> Self {
        let mut added_as_text = tokenizer.get_added_vocabulary().clone();
        added_as_text.set_encode_special_tokens(true);
        TextTokenizer { tokenizer, added_as_text, table }
    }

    pub fn from_json(json: &[u8]) -> Result<Self, Failure> {
        let tokenizer = Tokenizer::from_bytes(json)
            .map_err(|error| Failure::corrupt(format!("tokenizer.json: {error}")))?;
        let table = TokenTable::of(&tokenizer)?;
        Ok(Self::new(tokenizer, table))
    }

    pub fn table(&self) -> &TokenTable {
        &self.table
    }

    /// Runs the pipeline by hand, since Tokenizer::encode has one set of added tokens and adds BOS.
    pub fn encode(&self, text: &str, specials_as_text: bool) -> Result<Vec<u32>, Failure> {
        let added =
            if specials_as_text { &self.added_as_text } else { self.tokenizer.get_added_vocabulary() };
        let mut pieces = added.extract_and_normalize(self.tokenizer.get_normalizer(), text);
        let model = self.tokenizer.get_model();
        let steps = self
            .tokenizer
            .get_pre_tokenizer()
            .map_or(Ok(()), |pre_tokenizer| pre_tokenizer.pre_tokenize(&mut pieces))
            .and_then(|()| pieces.tokenize(|piece| model.tokenize(piece.get())));
        steps.map_err(|error| Failure::invalid(format!("the text cannot be tokenised: {error}")))?;
        let mut ids = Vec::new();
        for (_, _, tokens) in pieces.get_splits(OffsetReferential::Original, OffsetType::None) {
            ids.extend(tokens.iter().flatten().map(|token| token.id));
        }
        Ok(ids)
    }

    /// As the vocabulary spells it.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.tokenizer
            .get_added_vocabulary()
            .simple_id_to_token(id)
            .or_else(|| self.tokenizer.get_model().id_to_token(id))
    }

    pub fn find(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }
}

//! Which expressions split text before byte-level BPE, by the name that GGUF files give them.

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

use crate::ffi::Failure;

pub struct PreTokenizer {
    names: &'static [&'static str],
    /// Applied one after another, each to the pieces that the one before left.
    splits: &'static [&'static str],
    /// A piece that is a token as a whole is not merged from its parts.
    pub ignore_merges: bool,
    nfc: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const KNOWN: &[PreTokenizer] = &[
    PreTokenizer {
        names: &["gpt-2", "gpt2", "phi-2", "mpt", "olmo"],
        splits: &[GPT2],
        ignore_merges: false,
        nfc: false,
    },
    PreTokenizer {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"],
        splits: &[r"\p{N}", GPT2],
        ignore_merges: false,
        nfc: false,
    },
    PreTokenizer { names: &["qwen2", "deepseek-r1-qwen"], splits: &[QWEN2], ignore_merges: false, nfc: true },
    PreTokenizer { names: &["stablelm2", "hunyuan"], splits: &[QWEN2], ignore_merges: false, nfc: false },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2", "glm4", "chatglm-bpe"],
        splits: &[LLAMA3],
        ignore_merges: true,
        nfc: false,
    },
    PreTokenizer { names: &["dbrx", "smaug-bpe"], splits: &[LLAMA3], ignore_merges: false, nfc: false },
    PreTokenizer {
        names: &["deepseek-coder"],
        splits: &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
        ignore_merges: false,
        nfc: false,
    },
    PreTokenizer {
        names: &["deepseek-v3"],
        splits: &[r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3],
        ignore_merges: false,
        nfc: false,
    },
    PreTokenizer { names: &["tekken"], splits: &[TEKKEN], ignore_merges: true, nfc: false },
    PreTokenizer { names: &["gpt-4o", "llama4"], splits: &[GPT4O], ignore_merges: true, nfc: false },
];

pub fn find(name: &str) -> Result<&'static PreTokenizer, Failure> {
    KNOWN.iter().find(|known| known.names.contains(&name)).ok_or_else(|| {
        let names: Vec<&str> = KNOWN.iter().flat_map(|known| known.names).copied().collect();
        Failure::unsupported(format!("unknown pre-tokenizer '{name}'; known are {}", names.join(", ")))
    })
}

impl PreTokenizer {
    pub fn assemble(&self, model: BPE) -> tokenizers::Result<Tokenizer> {
        let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
        for split in self.splits {
            let pattern = SplitPattern::Regex((*split).to_owned());
            steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into());
        }
        steps.push(ByteLevel::new(false, false, false).into());
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
        if self.nfc {
            tokenizer.with_normalizer(Some(NFC))?;
        }
        Ok(tokenizer)
    }
}

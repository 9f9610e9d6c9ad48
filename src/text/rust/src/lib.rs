//! Tokenizers and chat templates behind a C ABI. Every entry point catches panics (ffi::guard); handles are opaque,
//! immutable and may be used by several threads at once.

mod byte_level;
mod ffi;
mod pre_tokenizers;
mod token_table;
mod tokenizer;
mod tokenizer_abi;
mod vocabulary;

//! Tokenizers and chat templates behind a C ABI. Every entry point catches panics (ffi::guard); handles are opaque,
//! immutable and may be used by several threads at once.

mod byte_level;
mod ffi;
mod guards;
mod namespaces;
mod pre_tokenizers;
mod python_filters;
mod python_json;
mod python_methods;
mod python_syntax;
mod python_text;
mod template;
mod template_abi;
mod token_table;
mod tokenizer;
mod tokenizer_abi;
mod value_weight;
mod vocabulary;

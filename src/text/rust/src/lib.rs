//! Tokenizers, chat templates and constraints behind a C ABI. Every entry point catches panics (ffi::guard); handles
//! are opaque and may be used by several threads at once where an entry point takes them shared.

mod byte_level;
mod constraint;
mod constraint_abi;
mod ffi;
mod gbnf;
mod grammar_text;
mod guards;
mod json_schema;
mod json_schema_cost;
mod namespaces;
mod pre_tokenizers;
mod python_filters;
mod python_json;
mod python_methods;
mod python_syntax;
mod python_text;
mod source_bounds;
mod template;
mod template_abi;
mod text_memory;
mod token_masks;
mod token_table;
mod tokenizer;
mod tokenizer_abi;
mod value_weight;
mod vocabulary;

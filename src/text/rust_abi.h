// The C ABI of the Rust library (rust/src/*_abi.rs). Input is borrowed; PgBuf and PgIds are owned by the
// caller and go back to pg_buf_free and pg_ids_free. Handles may be used by several threads at once where
// they are taken as const.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct PgStr {
  const char* data;
  size_t len;
};
struct PgBuf {
  char* data = nullptr;
  size_t len = 0;
  size_t cap = 0;
};
struct PgIds {
  uint32_t* data = nullptr;
  size_t len = 0;
  size_t cap = 0;
};
void pg_buf_free(PgBuf buf);
void pg_ids_free(PgIds ids);

enum PgStatus : int32_t {
  kPgOk = 0,
  kPgInvalidArgument = 1,
  kPgPanic = 2,
  kPgCorrupt = 3,
  kPgUnsupported = 4,
  kPgInternal = 5,
};

struct PgVocabulary {
  PgStr model;
  PgStr pre;
  const PgStr* tokens;
  size_t num_tokens;
  const float* scores;
  size_t num_scores;
  const int32_t* types;
  size_t num_types;
  const PgStr* merges;
  size_t num_merges;
  int32_t unk_id;
  uint8_t add_space_prefix;
};

// Token i is bytes[ends[i - 1], ends[i]). Valid while the tokenizer lives.
struct PgTokenTable {
  const char* bytes;
  const uint32_t* ends;
  const uint8_t* special;
  size_t num_tokens;
};

struct PgTokenizer;
PgStatus pg_tokenizer_new(const PgVocabulary* spec, PgTokenizer** out, PgBuf* error);
PgStatus pg_tokenizer_from_json(PgStr json, PgTokenizer** out, PgBuf* error);
void pg_tokenizer_free(PgTokenizer* tokenizer);
PgTokenTable pg_tokenizer_table(const PgTokenizer* tokenizer);
PgStatus pg_tokenizer_encode(const PgTokenizer* tokenizer, PgStr text, uint8_t specials_as_text, PgIds* out,
                             PgBuf* error);
PgStatus pg_tokenizer_token_text(const PgTokenizer* tokenizer, uint32_t id, PgBuf* out, PgBuf* error);
PgStatus pg_tokenizer_find(const PgTokenizer* tokenizer, PgStr text, int64_t* out, PgBuf* error);

struct PgTemplate;
PgStatus pg_template_compile(PgStr source, PgTemplate** out, PgBuf* error);
void pg_template_free(PgTemplate* compiled);
PgStatus pg_template_render(const PgTemplate* compiled, PgStr context_json, PgBuf* out, PgBuf* error);

struct PgConstraintFactory;
// end_tokens must be ids in the table. Both are copied.
PgStatus pg_constraint_factory_new(const PgTokenTable* table, const uint32_t* end_tokens,
                                   size_t num_end_tokens, PgConstraintFactory** out, PgBuf* error);
void pg_constraint_factory_free(PgConstraintFactory* factory);

enum PgConstraintKind : uint32_t {
  kPgJsonSchema = 0,
  kPgRegex = 1,
  kPgChoice = 2,  // text: a JSON array of strings
  kPgGrammar = 3,
};
struct PgConstraintSource {
  PgConstraintKind kind;
  PgStr text;
  PgStr whitespace_pattern;  // empty: none
  uint8_t compact_json;
};

struct PgConstraint;
PgStatus pg_constraint_compile(const PgConstraintFactory* factory, const PgConstraintSource* source,
                               PgConstraint** out, PgBuf* error);
PgStatus pg_constraint_clone(const PgConstraint* constraint, PgConstraint** out, PgBuf* error);
void pg_constraint_free(PgConstraint* constraint);
PgStatus pg_constraint_mask(PgConstraint* constraint, uint32_t* words, size_t num_words, PgBuf* error);
PgStatus pg_constraint_allows(PgConstraint* constraint, uint32_t token, uint8_t* out, PgBuf* error);
PgStatus pg_constraint_consume(PgConstraint* constraint, uint32_t token, uint8_t* finished, PgBuf* error);
PgStatus pg_constraint_rollback(PgConstraint* constraint, size_t num_tokens, PgBuf* error);
PgStatus pg_constraint_accepting(PgConstraint* constraint, uint8_t* out, PgBuf* error);

}  // extern "C"

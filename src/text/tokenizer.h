// Text <-> token ids. A thin face over the field's own Rust libraries (tokenizers), linked as one static
// library.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pagoda {

using TokenId = int32_t;

// How special tokens that stand in the text as text are treated.
enum class Specials {
  parse,    // they become tokens (rendered chat templates)
  as_text,  // they stay text (untrusted content); user-defined tokens are matched either way
};

// Thread-safe: one object serves all threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual int64_t vocab_size() const = 0;
  // Nothing is added in front, not even BOS. Text that is not UTF-8 is an invalid_argument.
  virtual Result<std::vector<TokenId>> encode(std::string_view text, Specials specials) const = 0;
  // Appends the bytes that a token stands for; they may be part of a character. Ids outside the vocabulary
  // add nothing.
  virtual void append_bytes(TokenId id, std::string& out) const = 0;
  virtual bool is_special(TokenId id) const = 0;
  // -1 where the model has none.
  virtual TokenId bos_id() const = 0;
  virtual TokenId eos_id() const = 0;
  virtual TokenId pad_id() const = 0;
  // Whether a plain prompt (no template) starts with BOS.
  virtual bool adds_bos() const = 0;
  // Text of a token as it stands in templates ("<|im_end|>"); empty for -1.
  virtual std::string token_text(TokenId id) const = 0;
  // The id whose text is exactly this, or -1.
  virtual TokenId find_token(std::string_view text) const = 0;
};

// A vocabulary as GGUF metadata has it. Tokens and merges belong to the caller.
struct VocabularySpec {
  std::string model;  // tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (SPM)
  std::string pre;    // tokenizer.ggml.pre: which pre-tokenizer ("smollm", "qwen2", "gpt-2", "llama-bpe", …)
  std::vector<std::string_view> tokens;
  std::vector<float> scores;  // SPM; else empty
  std::vector<int32_t>
      types;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; may be empty
  std::vector<std::string_view> merges;  // BPE
  TokenId bos_id = -1;
  TokenId eos_id = -1;
  TokenId unk_id = -1;
  TokenId pad_id = -1;
  bool add_bos = false;
  bool add_space_prefix = false;
};
// An unknown model or pre-tokenizer is refused with the list of known ones; inconsistent arrays are
// `corrupt`.
Result<std::unique_ptr<Tokenizer>> make_tokenizer(const VocabularySpec& spec);
// From a Hugging Face tokenizer.json and, if not empty, tokenizer_config.json (bos, eos, pad, add_bos_token).
Result<std::unique_ptr<Tokenizer>> make_tokenizer_from_json(std::string_view tokenizer_json,
                                                            std::string_view tokenizer_config_json);

// Turns a stream of ids into text that is always whole characters: bytes of an unfinished character are held
// back. Damaged UTF-8 becomes U+FFFD by the WHATWG rule of maximal subparts. One per sequence.
class Detokenizer {
 public:
  enum class SpecialText { show, hide };
  // `shown`: special tokens that are shown even if the others are hidden; must outlive it.
  Detokenizer(const Tokenizer& tokenizer, SpecialText special_text, std::span<const TokenId> shown = {})
      : tokenizer_(&tokenizer), special_text_(special_text), shown_(shown) {}

  // Appends the text that this token completes.
  void push(TokenId id, std::string& out);
  // At the end of a sequence: appends what was held back, damaged as it may be.
  void finish(std::string& out);

 private:
  const Tokenizer* tokenizer_;
  SpecialText special_text_;
  std::span<const TokenId> shown_;
  std::string pending_;
};

}  // namespace pagoda

// Constrained output: which tokens may come next so that the text fits a JSON schema, a regular expression, a
// choice or a grammar. Over llguidance, in the Rust library.
//
//   ConstraintFactory --compile--> CompiledConstraint --start--> Constraint
//   one per tokenizer              one per request               one per sequence
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace pagoda {

struct ConstraintSource {
  enum class Kind {
    json_schema,  // text: the schema
    regex,        // the whole output matches; Rust's syntax, without look-around and back-references
    choice,       // text: a JSON array of strings, of which the output is one
    grammar,      // Lark in llguidance's dialect (%json {…} embeds a schema), or GBNF if it has "::="
  };
  // Between the tokens of JSON, in schemas and in %json of grammars.
  enum class Whitespace {
    single_space,  // at most one, after ',' and ':'. More would let weak models spin in spaces
    none,
  };
  Kind kind = Kind::json_schema;
  std::string text;
  Whitespace whitespace = Whitespace::single_space;
  std::string whitespace_pattern;  // a regular expression that stands for `whitespace`, anywhere; empty: none
};

// For grammars in Lark: a literal, and JSON that fits a schema.
//   "start: " + lark_literal("<call>") + " " + lark_json(schema) + " " + lark_literal("</call>")
std::string lark_literal(std::string_view text);
std::string lark_json(std::string_view schema_json);
// The text as a part of a regular expression between slashes.
std::string lark_pattern(std::string_view text);

// The state of one sequence. Not thread-safe; two of them never wait for each other. After an error it is of
// no further use. Errors say what the grammar cannot do: it takes too much work or memory, or refuses the
// token.
class Constraint {
 public:
  Constraint(Constraint&&) noexcept;
  Constraint& operator=(Constraint&&) noexcept;
  ~Constraint();
  Result<Constraint> clone() const;

  // Bit t % 32 of words[t / 32] says whether token t may come next; bits beyond the tokenizer's vocabulary
  // are cleared. Where the text may end the end tokens are among them. None are once is_finished(). The work
  // is bounded: what costs too much, at once or on average, is an error.
  Status fill_mask(std::span<uint32_t> words);
  // The same for one token, at a fraction of the cost.
  Result<bool> allows(TokenId token);
  // Takes a token that was allowed; an end token where the text may end is fine, too.
  Status consume(TokenId token);
  // Takes back the last n tokens.
  Status rollback(int64_t num_tokens);

  // The text is complete; it may be possible to go on.
  Result<bool> is_accepting();
  // The text is complete and nothing can follow.
  bool is_finished() const { return finished_; }

 private:
  friend class ConstraintFactory;
  struct Handle;
  explicit Constraint(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
  bool finished_ = false;
};

// Immutable and thread-safe.
class CompiledConstraint {
 public:
  explicit CompiledConstraint(Constraint initial) : initial_(std::move(initial)) {}
  Result<Constraint> start() const { return initial_.clone(); }

 private:
  const Constraint initial_;
};

// Thread-safe. Building one takes up to a second for large vocabularies.
class ConstraintFactory {
 public:
  // end_tokens: what may follow a complete text; those that the tokenizer lacks are ignored.
  static Result<ConstraintFactory> create(const Tokenizer& tokenizer, std::span<const TokenId> end_tokens);
  // At most what one takes, while it is built and later: tables over the vocabulary. Constraints come on top.
  static uint64_t memory_bytes(const Tokenizer& tokenizer);
  ConstraintFactory(ConstraintFactory&&) noexcept;
  ConstraintFactory& operator=(ConstraintFactory&&) noexcept;
  ~ConstraintFactory();

  // Within about 100 ms, whatever the text: what is hostile, impossible or not supported is an
  // invalid_argument or `unsupported` that says why, and names the keyword of a schema.
  Result<std::shared_ptr<const CompiledConstraint>> compile(const ConstraintSource& source) const;

 private:
  struct Handle;
  explicit ConstraintFactory(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

// A factory that is built on a thread of its own, so that a server need not wait for it to start.
// Thread-safe.
class ConstraintCompiler {
 public:
  // The tokenizer must outlive it. Its destructor waits for the thread.
  ConstraintCompiler(const Tokenizer& tokenizer, std::vector<TokenId> end_tokens);

  // Waits until the factory is built.
  Result<std::shared_ptr<const CompiledConstraint>> compile(const ConstraintSource& source) const;

 private:
  std::shared_future<Result<ConstraintFactory>> factory_;
};

}  // namespace pagoda

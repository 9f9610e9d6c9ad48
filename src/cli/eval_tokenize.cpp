#include <boost/json.hpp>

#include "cli/json.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"
#include "model/vocabulary.h"

namespace pagoda {

namespace {

// What a stream shows at each token: the text that it completes; joined, the decoded text.
boost::json::array stream_pieces(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  Detokenizer detokenizer(tokenizer, Detokenizer::SpecialText::show);
  std::vector<std::string> pieces;
  for (const TokenId id : ids) detokenizer.push(id, pieces.emplace_back());
  if (!pieces.empty()) detokenizer.finish(pieces.back());
  return boost::json::array(pieces.begin(), pieces.end());
}

Result<std::string> find_text(std::string_view line) {
  PAGODA_TRY(const JsonMembers members, split_json_object(line));
  for (const auto& [key, value] : members)
    if (key == "text") return parse_json_string(value);
  return fail(ErrorCode::invalid_argument, "the object has no member 'text'");
}

}  // namespace

Status execute(const EvalTokenizeArguments& arguments) {
  PAGODA_TRY(const auto file, open_model(arguments.model));
  PAGODA_TRY(const auto tokenizer, load_tokenizer(*file));
  const Specials specials = arguments.specials_as_text ? Specials::as_text : Specials::parse;
  return for_each_line(arguments.file, [&](std::string_view line) -> Status {
    PAGODA_TRY(const std::string text, find_text(line));
    PAGODA_TRY(const std::vector<TokenId> ids, tokenizer->encode(text, specials));
    print_line(to_json(
        {{"ids", boost::json::array(ids.begin(), ids.end())}, {"pieces", stream_pieces(*tokenizer, ids)}}));
    return {};
  });
}

}  // namespace pagoda

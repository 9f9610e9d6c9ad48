// The text side of a model file: its tokenizer and its chat template.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "io/model_file.h"
#include "text/tokenizer.h"

namespace pagoda {

// GGUF: from the metadata tokenizer.ggml.*. Hugging Face folders: tokenizer.json and, where there is one,
// tokenizer_config.json. not_found if the file holds no tokenizer, else the errors of make_tokenizer, with
// the path.
Result<std::unique_ptr<Tokenizer>> load_tokenizer(const ModelFile& file);

// GGUF: tokenizer.chat_template. Hugging Face folders: chat_template.jinja, or else chat_template of
// tokenizer_config.json (of several named ones, "default"). not_found if there is none.
Result<std::string> load_chat_template_source(const ModelFile& file);

}  // namespace pagoda

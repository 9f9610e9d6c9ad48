#include "server/openai/accepted_fields.h"

#include <algorithm>
#include <array>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

// As OpenAI documents them.
constexpr size_t kMaxMetadataPairs = 16;
constexpr size_t kMaxMetadataKeyBytes = 64;
constexpr size_t kMaxMetadataValueBytes = 512;
constexpr std::array<std::string_view, 5> kServiceTiers = {"auto", "default", "flex", "scale", "priority"};

void check_metadata(Fields& fields) {
  const json::object* metadata = fields.object("metadata");
  if (!metadata) return;
  if (metadata->size() > kMaxMetadataPairs)
    return fields.fail_with(
        bad_parameter("metadata", "object_above_max_properties",
                      fmt::format("Invalid 'metadata': at most {} pairs are allowed, but got {}.",
                                  kMaxMetadataPairs, metadata->size())));
  for (const auto& [key, value] : *metadata) {
    if (key.size() > kMaxMetadataKeyBytes)
      return fields.fail_with(
          bad_parameter("metadata", "string_above_max_length",
                        fmt::format("Invalid 'metadata': a key has {} bytes, at most {} are allowed.",
                                    key.size(), kMaxMetadataKeyBytes)));
    const std::string param = fmt::format("metadata.{}", std::string_view(key));
    if (!value.is_string()) return fields.fail_with(wrong_type(param, "a string", value));
    if (value.get_string().size() > kMaxMetadataValueBytes)
      return fields.fail_with(
          bad_parameter(param, "string_above_max_length",
                        fmt::format("Invalid '{}': a value has {} bytes, at most {} are allowed.", param,
                                    value.get_string().size(), kMaxMetadataValueBytes)));
  }
}

void check_service_tier(Fields& fields) {
  std::string tier = "auto";
  fields.string("service_tier", tier);
  if (std::ranges::find(kServiceTiers, tier) == kServiceTiers.end())
    fields.fail_with(unknown_word("service_tier", kServiceTiers));
}

}  // namespace

void check_accepted_fields(Fields& fields) {
  check_metadata(fields);
  check_service_tier(fields);
  bool flag = false;
  for (const char* name : {"store", "spaces_between_special_tokens"}) fields.boolean(name, flag);
  std::string text;
  for (const char* name : {"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})
    fields.string(name, text);
}

}  // namespace pagoda

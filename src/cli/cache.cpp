#include <boost/json.hpp>

#include "base/clock.h"
#include "cli/arguments.h"
#include "cli/byte_size.h"
#include "cli/json.h"
#include "cli/terminal.h"
#include "kv/disk/page_folder.h"

namespace pagoda {

namespace {

namespace json = boost::json;

std::string to_text(const Digest& digest) {
  return fmt::format("{:016x}{:016x}", digest.high, digest.low);
}

void print_field(std::string_view name, const std::string& value) {
  print_line(fmt::format("{} {}", bold(fmt::format("{:<16}", name), Stream::out), value));
}

std::string files_text(int32_t num_files, uint64_t num_bytes) {
  return fmt::format("{} in {} file{}", format_byte_size(num_bytes), num_files, num_files == 1 ? "" : "s");
}

json::object to_object(const std::string& folder, const PageFolderInfo& info) {
  json::object object = {
      {"folder", folder},          {"page_bytes", info.page_bytes},       {"slots", info.num_slots},
      {"pages", info.num_pages()}, {"damaged_headers", info.num_damaged}, {"file_bytes", info.file_bytes},
      {"files", info.num_files}};
  json::array& fingerprints = object["fingerprints"].emplace_array();
  for (const PagesOfFingerprint& pages : info.fingerprints)
    fingerprints.push_back({{"fingerprint", to_text(pages.fingerprint)},
                            {"pages", pages.num_pages},
                            {"bytes", static_cast<uint64_t>(pages.num_pages) * info.page_bytes},
                            {"oldest_generation", pages.oldest_generation},
                            {"newest_generation", pages.newest_generation}});
  return object;
}

void print_info(const std::string& folder, const PageFolderInfo& info) {
  print_field("folder", folder);
  print_field("on disk", files_text(info.num_files, info.file_bytes));
  print_field("page", format_byte_size(info.page_bytes));
  print_field("slots", fmt::format("{} used of {}", info.num_pages(), info.num_slots));
  if (info.num_damaged > 0) print_field("damaged headers", fmt::format("{}", info.num_damaged));
  for (const auto& [fingerprint, num_pages, oldest, newest] : info.fingerprints)
    print_field(
        "fingerprint",
        fmt::format("{}: {} pages, {}, generations {} to {}", to_text(fingerprint), num_pages,
                    format_byte_size(static_cast<uint64_t>(num_pages) * info.page_bytes), oldest, newest));
}

Status inspect(const CacheArguments& arguments) {
  PAGODA_TRY(const PageFolderInfo info, inspect_page_folder(system_files(), arguments.folder));
  if (arguments.json)
    print_line(to_json(to_object(arguments.folder, info)));
  else
    print_info(arguments.folder, info);
  return {};
}

Status verify(const CacheArguments& arguments) {
  const SteadyClock clock;
  const int64_t start_ns = clock.now_ns();
  PageFolderCheck check;
  {
    Progress progress("reading");
    PAGODA_TRY(check, verify_page_folder(system_files(), arguments.folder,
                                         [&](double fraction) { progress.update(fraction); }));
  }
  const double seconds = static_cast<double>(clock.now_ns() - start_ns) * 1e-9;
  if (arguments.json) {
    print_line(
        to_json(json::object{{"folder", arguments.folder},
                             {"pages", check.num_pages},
                             {"bytes", check.num_bytes},
                             {"seconds", seconds},
                             {"problems", json::array(check.problems.begin(), check.problems.end())}}));
  } else {
    for (const std::string& problem : check.problems) print_line(problem);
    print_line(fmt::format("{} pages read ({} in {:.2f} s), {} bad", check.num_pages,
                           format_byte_size(check.num_bytes), seconds, check.problems.size()));
  }
  if (check.problems.empty()) return {};
  return fail(ErrorCode::corrupt, "{}: {} of {} pages are bad; a server computes them again",
              arguments.folder, check.problems.size(), check.num_pages);
}

Status clear(const CacheArguments& arguments) {
  PAGODA_TRY(const PageFolderRemoval removal, clear_page_folder(system_files(), arguments.folder));
  if (arguments.json)
    print_line(to_json(json::object{{"folder", arguments.folder},
                                    {"removed_files", removal.num_files},
                                    {"removed_bytes", removal.num_bytes}}));
  else
    print_line(fmt::format("removed {}", files_text(removal.num_files, removal.num_bytes)));
  return {};
}

}  // namespace

Status execute(const CacheArguments& arguments) {
  switch (arguments.action) {
    case CacheAction::inspect:
      return inspect(arguments);
    case CacheAction::verify:
      return verify(arguments);
    case CacheAction::clear:
      return clear(arguments);
  }
  return {};
}

}  // namespace pagoda

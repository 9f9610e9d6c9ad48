#include "text/rust_result.h"

namespace pagoda {

namespace {

ErrorCode error_code(PgStatus status) {
  switch (status) {
    case kPgInvalidArgument:
      return ErrorCode::invalid_argument;
    case kPgCorrupt:
      return ErrorCode::corrupt;
    case kPgUnsupported:
      return ErrorCode::unsupported;
    case kPgOk:
    case kPgPanic:
    case kPgInternal:
      break;
  }
  return ErrorCode::internal;
}

}  // namespace

std::vector<PgStr> borrow_all(std::span<const std::string_view> texts) {
  std::vector<PgStr> borrowed;
  borrowed.reserve(texts.size());
  for (const std::string_view text : texts) borrowed.push_back(borrow(text));
  return borrowed;
}

std::string take(PgBuf& buf) {
  std::string text(buf.data == nullptr ? "" : buf.data, buf.len);
  pg_buf_free(buf);
  buf = {};
  return text;
}

Status to_status(PgStatus status, PgBuf& error) {
  if (status == kPgOk) return {};
  const std::string message = take(error);
  if (status == kPgPanic) return fail(ErrorCode::internal, "the text library failed: {}", message);
  return std::unexpected(Error{error_code(status), message});
}

}  // namespace pagoda

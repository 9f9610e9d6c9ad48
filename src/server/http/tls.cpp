#include "server/http/tls.h"

#include <fstream>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace pagoda::http {
namespace asio = boost::asio;

namespace {

std::string last_reason() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason ? reason : "unknown reason";
}

Status check_readable(const char* what, const std::string& path) {
  if (std::ifstream(path).peek() != std::ifstream::traits_type::eof()) return {};
  return fail(ErrorCode::invalid_argument, "The {} file '{}' cannot be read or is empty", what, path);
}

// Instead of OpenSSL's prompt on the terminal.
int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return 0;
}

}  // namespace

Result<std::unique_ptr<asio::ssl::context>> load_tls_context(const std::string& certificate_file,
                                                             const std::string& key_file) {
  PAGODA_TRY_STATUS(check_readable("certificate", certificate_file));
  PAGODA_TRY_STATUS(check_readable("key", key_file));
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(
      native, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(native, certificate_file.c_str()) != 1)
    return fail(ErrorCode::invalid_argument, "The file '{}' holds no PEM certificate ({})", certificate_file,
                last_reason());
  bool asked = false;
  SSL_CTX_set_default_passwd_cb(native, no_passphrase);
  SSL_CTX_set_default_passwd_cb_userdata(native, &asked);
  const bool loaded = SSL_CTX_use_PrivateKey_file(native, key_file.c_str(), SSL_FILETYPE_PEM) == 1;
  SSL_CTX_set_default_passwd_cb_userdata(native, nullptr);
  SSL_CTX_set_default_passwd_cb(native, nullptr);
  if (asked)
    return fail(ErrorCode::invalid_argument, "The key in '{}' is locked by a passphrase; give one without",
                key_file);
  if (!loaded && ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
    return fail(ErrorCode::invalid_argument, "The key in '{}' does not belong to the certificate in '{}'",
                key_file, certificate_file);
  if (!loaded)
    return fail(ErrorCode::invalid_argument, "The file '{}' holds no PEM private key ({})", key_file,
                last_reason());
  return context;
}

}  // namespace pagoda::http

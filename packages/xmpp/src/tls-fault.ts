/** Codes with which Node says that the other end's certificate does not verify. */
const THEIRS = new Set([
  ...["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID", "CERT_REVOKED", "CERT_REJECTED", "CERT_UNTRUSTED", "INVALID_PURPOSE"],
  ...["DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT", "INVALID_CA"],
  ...["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "CERT_SIGNATURE_FAILURE"],
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);

/**
 * Says whose certificate it was: OpenSSL's words are the same for both ends. Errors that are not about certificates
 * stay as they are.
 */
export function explainTlsError(error: Error): Error {
  const code = "code" in error ? String(error.code) : "";
  if (THEIRS.has(code)) return explained("the server's certificate does not verify", error, code);
  // RFC 8446 section 6: an alert about a certificate is always about the receiver's.
  if (/^ERR_SSL_.*ALERT_.*(CERTIFICATE|UNKNOWN_CA)/.test(code))
    return explained("the server does not take our certificate", error, code);
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG")
    return explained("this port does not speak TLS", error, code);
  return error;
}

function explained(what: string, cause: Error, code: string): Error {
  return Object.assign(new Error(`${what}: ${cause.message} (${code})`, { cause }), { code });
}

"""tinfoil: quotes, without collateral, which it fetches itself. Its pinned root is replaced."""

from cryptography import x509
from folder import Folder, say
from tinfoil.attestation import cert_utils
from tinfoil.attestation.abi_tdx import TdxQuoteParseError, parse_quote
from tinfoil.attestation.validate_tdx import PolicyOptions, TdxValidationError, validate_tdx_policy
from tinfoil.attestation.verify_tdx import TdxVerificationError, verify_tdx_quote

folder = Folder()
if folder.link != "quote":
    say("unsupported")
root = x509.load_der_x509_certificate(folder.root)
cert_utils.get_intel_root_ca = lambda: root
try:
    quote = parse_quote(folder.quote)
    verify_tdx_quote(quote, folder.quote)
    validate_tdx_policy(quote, PolicyOptions())
except (TdxQuoteParseError, TdxVerificationError, TdxValidationError):
    say("reject")
say("accept")

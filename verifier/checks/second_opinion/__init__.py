"""A second verifier of TD quotes, which stands beside dcap_qvl and decides nothing alone.

Written from Intel's documents (TDX DCAP Quoting Library API, A.3 and A.4; SGX PCK Certificate and
CRL Profile; PCS API v4; TDX Module ABI), over `cryptography` and Python's JSON reader. It shares no
code with `checks/dcap.py`, `checks/hardware` or `evidence/td`, not even the layout of a quote: a
mistake that both readers made would be one that nobody notices. What it shares is what it is given,
the quote, the chosen collateral, the root and the time, and one library: `cryptography` also checks
signatures where collateral is chosen. dcap_qvl uses neither that library nor Python.

Where Intel's documents leave room it takes the narrower reading, so that a quote which only a
lenient reader accepts is a disagreement.
"""

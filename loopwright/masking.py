"""Secrets out of text that people and models read: prompts, reasons, error messages. What looks like a secret becomes `***`.

It goes by shape and by name, so it finds what is well known and no more; it is no reason to put a secret into a document.
"""

import re

MASK = "***"
_MARK = re.compile(  # something of this is in all that looks like a secret, in small letters
    r"passw(?:or)?d|secret|token|api[_-]?key|authorization|bearer|private key-----|eyj"
    r"|sk[_-]|rk_|whsec_|gh[pousr]_|github_pat_|glpat-|akia|asia|aiza|xox|://"
)
_ENDING = r"(?:password|passwd|secret|token|api[_-]?key|authorization)"
_NAME = rf"[\w-]{{0,40}}{_ENDING}"
_QUOTED = (  # one group per line at most: what stands before the secret, and stays
    rf'("{_NAME}"\s*:\s*")(?:[^"\\]|\\.)*+',  # "name": "value", perhaps cut off
    rf"('{_NAME}'\s*:\s*')(?:[^'\\]|\\.)*+",  # as Python writes it
    rf'(\\"{_NAME}\\"\s*:\s*\\")(?:[^"\\]|\\[^"\\]|\\\\(?:\\.|[^\\"]))*+',  # JSON within a JSON string
    rf'(\\{{2,15}}"{_NAME}\\{{2,15}}"\s*:\s*\\{{2,15}}")[^"]*+',  # and deeper
    rf"""((?:\\{{0,15}}["']){_NAME}(?:\\{{0,15}}["'])\s*:\s*)(?:-?\d[\d.eE+-]*+|[\[{{][^\]}}]*+[\]}}]?)""",
)
_WORDS = (
    r"(authorization\s*[:=]\s*[\"']?)(?:(?:basic|bearer|digest|token|apikey|negotiate)\s+)?[^\s,;\"'\\]++",
    rf"({_NAME}=[\"']?)(?!=)[^\s&,;\"'<>\\]++",  # in queries and command lines
    r"((?:password|passwd|api[_-]?key):\s*[\"']?)(?:[^\s,;\"'<>\\]++)",
    r"(bearer\s+)(?!(?:authentication|authorization|realm)\b)[A-Za-z0-9._~+/=-]{8,}+",
    r"sk-[\w-]{12,}+|[sr]k_(?:live|test)_\w{8,}+|gh[pousr]_[A-Za-z0-9]{16,}+|github_pat_\w{16,}+|glpat-[\w-]{16,}+",
    r"whsec_[A-Za-z0-9+/=]{16,}+|xox[a-z]-[A-Za-z0-9-]{8,}+|(?-i:(?:AKIA|ASIA)[0-9A-Z]{16}(?!\w))|(?-i:AIza)[\w-]{30,}+",
    r"eyJ[\w-]{8,1024}+\.[\w-]{8,}+\.[\w-]*+",  # a JSON Web Token
)
_SECRETS = re.compile(
    rf"""(?=["'\\])(?:{"|".join(_QUOTED)})"""
    rf"|(?<!\w)(?=[\w-])(?:{'|'.join(_WORDS)})"
    r"|(://[^/\s:@\"']{0,256}:)[^/\s?#]{1,512}(?=@)"  # user:password@host
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_SECRET_NAME = re.compile(rf"[\w-]*?{_ENDING}", re.ASCII | re.IGNORECASE)
_PASSES = 8


def masked(text: str) -> str:
    """`text` with `***` for every secret in it. Masking twice is masking once; it never raises."""
    for _ in range(_PASSES):  # as a rule one that finds, and one that finds nothing more
        if unmarked(text):
            return text
        before, text = text, _SECRETS.sub(_mask, text)
        if text == before:
            return text
    return MASK  # somebody tries hard


def unmarked(text: str) -> bool:
    """Whether nothing in `text` looks like a secret, or like the name of one, at first sight: so it is with each part of `text`."""
    return _MARK.search(text.lower()) is None


def is_secret(name: str) -> bool:
    """Whether the field `name` holds a secret by what it is called: `password`, `client_secret`, `x-api-key`, ..."""
    return _SECRET_NAME.fullmatch(name) is not None


def _mask(found: re.Match[str]) -> str:
    return (found[found.lastindex] if found.lastindex else "") + MASK

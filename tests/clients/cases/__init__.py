"""The cases, by what they are about."""

from __future__ import annotations

from ..case import CASES
from . import answers, closing, histories, reconnecting, renewal, requests, titles, tokens

__all__ = ["CASES", "answers", "closing", "histories", "reconnecting", "renewal", "requests", "titles", "tokens"]

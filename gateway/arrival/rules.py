"""The `when` language of a rule: keyword = value, list, ">=20", "~regex", "!..." on one volume.

A keyword is a DICOM keyword, or one of `images`, `slice_spacing_mm`, `study_age_days`. Where an attribute has
several values, it matches when any does; a `!` matches when none does. Text is compared without regard to
case and surrounding blanks. An absent or empty attribute matches nothing but a `!`.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import tag_for_keyword

from gateway.config import Rule

COMPUTED = ("images", "slice_spacing_mm", "study_age_days")
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}

Matcher = Callable[[str], bool]


class RuleError(Exception):
    """A rule cannot be understood; the text names the rule and the key."""


@dataclass(frozen=True)
class Condition:
    """One line of a rule's `when`."""

    keyword: str
    wanted: str
    _matchers: tuple[Matcher, ...]
    _negated: bool

    def holds(self, values: Iterable[str]) -> bool:
        """Whether an attribute with these values satisfies the condition."""
        any_matches = any(matcher(value.strip()) for value in values for matcher in self._matchers)
        return any_matches is not self._negated


@dataclass(frozen=True)
class CompiledRule:
    """A rule whose conditions are ready to be asked."""

    rule: Rule
    conditions: tuple[Condition, ...]

    def first_refusal(self, attributes: Mapping[str, tuple[str, ...]]) -> Condition | None:
        """The first condition that these attributes do not satisfy, or None when the rule matches."""
        for condition in self.conditions:
            if not condition.holds(attributes.get(condition.keyword, ())):
                return condition
        return None


def compile_rule(rule: Rule) -> CompiledRule:
    """Check and prepare a rule.

    Raises
    ------
    RuleError
        Unknown keyword, a bad number or regular expression.
    """
    return CompiledRule(rule, tuple(_condition(rule.name, key, value) for key, value in rule.when.items()))


def _condition(rule_name: str, keyword: str, value: Any) -> Condition:
    where = f"rule {rule_name}: when.{keyword}"
    if keyword not in COMPUTED and tag_for_keyword(keyword) is None:
        raise RuleError(f"{where}: neither a DICOM keyword nor one of {', '.join(COMPUTED)}")
    alternatives = value if isinstance(value, list) else [value]
    texts = [str(alternative) for alternative in alternatives]
    negations = {text.startswith("!") for text in texts}
    if len(negations) > 1:
        raise RuleError(f"{where}: a list is either all plain or all with '!'")
    if not texts:
        raise RuleError(f"{where}: an empty list matches nothing; leave the key out")
    negated = negations == {True}
    matchers = tuple(_matcher(where, text[1:] if negated else text) for text in texts)
    return Condition(keyword, ", ".join(texts), matchers, negated)


def _matcher(where: str, text: str) -> Matcher:
    if text.startswith("~"):
        try:
            pattern = re.compile(text[1:], re.IGNORECASE)
        except re.error as error:
            raise RuleError(f"{where}: {text[1:]!r} is not a regular expression: {error}") from None
        return lambda value: pattern.search(value) is not None
    for sign, compare in _COMPARISONS.items():
        if text.startswith(sign):
            return _number_matcher(where, compare, text.removeprefix(sign))
    return _equality_matcher(text)


def _number_matcher(where: str, compare: Callable[[float, float], bool], text: str) -> Matcher:
    try:
        limit = float(text)
    except ValueError:
        raise RuleError(f"{where}: {text!r} is not a number") from None

    def matches(value: str) -> bool:
        try:
            return compare(float(value), limit)
        except ValueError:
            return False

    return matches


def _equality_matcher(text: str) -> Matcher:
    wanted = text.strip().casefold()

    def matches(value: str) -> bool:
        if value.casefold() == wanted:
            return True
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False

    return matches

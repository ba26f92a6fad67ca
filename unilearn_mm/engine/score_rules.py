"""MMEngine's hooks learn which of our scores are better when they are greater.

``CheckpointHook(save_best=...)`` and ``EarlyStoppingHook(monitor=...)`` guess it from parts of a
key ('acc', 'top', 'loss', ...), know no part of ours, and offer no way to tell them more. Importing
this module teaches them, and the hooks that inherit from them, the names that follow the task,
whatever the task is called. A ``rule`` that a config gives is obeyed, and other keys are left to
MMEngine.
"""

import re
from typing import List, Optional

from mmengine.hooks import CheckpointHook, EarlyStoppingHook

GREATER = re.compile(r'.+/(WAR|UAR|macro_F1|weighted_F1|recall_.+)')
LESS = re.compile(r'.+/(ECE|NLL|rec_loss)')

_rules_of_best, _rule_of_stopping = CheckpointHook._init_rule, EarlyStoppingHook._init_rule


def score_rule(key: str) -> Optional[str]:
    """'greater' or 'less' for a score that our metrics return, None for other keys."""
    if GREATER.fullmatch(key):
        return 'greater'
    return 'less' if LESS.fullmatch(key) else None


def rules_of_best(hook: CheckpointHook, rules: List[Optional[str]], keys: List[str]) -> None:
    """In the place of ``CheckpointHook._init_rule``."""
    rules = rules * len(keys) if len(rules) == 1 else rules
    _rules_of_best(hook, [rule or score_rule(key) for rule, key in zip(rules, keys)], keys)


def rule_of_stopping(hook: EarlyStoppingHook, key: str) -> str:
    """In the place of ``EarlyStoppingHook._init_rule``."""
    return score_rule(key) or _rule_of_stopping(hook, key)


CheckpointHook._init_rule = rules_of_best
EarlyStoppingHook._init_rule = rule_of_stopping

"""Fields that a dataclass got after results of it were kept."""

from collections.abc import Mapping
from typing import Any

CAME_LATER: Mapping[str, Any] = {"came_later": True}
"""A field's metadata: where it has its default it is no part of an id, so that older results are found."""

"""What every method and every attack promises holds for a model on a GPU too: the same tests."""

import pytest

from tests.attacks.test_every_attack import test_contract as test_every_attack_keeps_its_contract
from tests.methods.machinery.test_contract import test_method_keeps_the_contract

__all__ = ["test_every_attack_keeps_its_contract", "test_method_keeps_the_contract"]

pytestmark = pytest.mark.gpu

"""Which attacks a run makes: those that the user names, else its suite's own."""

from erasure_bench.attacks.registry import ARGUMENT, ATTACKS
from erasure_bench.bench.planning.config import Options, RunConfig
from erasure_bench.bench.planning.run_yaml import option_text
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.suite import Suite, SuiteAttack

NONE = "none"
"""`--attacks none`: not even the suite's own."""


def with_suites_attacks(config: RunConfig, suite: Suite) -> RunConfig:
    """The config as if every attack that is made had been asked for by name.

    An option that the user gives wins over the suite's. Raises UnknownName for an attack of the suite that is
    none, BenchError for `none` among others.
    """
    if NONE in config.attacks:
        if len(config.attacks) > 1:
            raise BenchError(f"--attacks {','.join(config.attacks)}: {NONE} stands alone")
        return config.model_copy(update={"attacks": ()})
    if config.attacks or not suite.attacks:
        return config
    common = config.attack_options.get("", {})
    options = dict(config.attack_options)
    for attack in suite.attacks:
        name = checked_name(attack, suite.name)
        options[name] = {**texts_of(attack), **common, **config.attack_options.get(name, {})}
    return config.model_copy(
        update={"attacks": tuple(attack.name for attack in suite.attacks), "attack_options": options}
    )


def checked_name(attack: SuiteAttack, suite: str) -> str:
    """The attack's registered name. Raises UnknownName that says whose attack it is."""
    name = attack.name.partition(ARGUMENT)[0]
    if name not in ATTACKS:
        raise UnknownName("attack", name, ATTACKS, f"attacks, {suite}")
    return name


def texts_of(attack: SuiteAttack) -> Options:
    """The attack's options as the command line has them."""
    return {key: str(option_text(value)) for key, value in attack.options.items()}

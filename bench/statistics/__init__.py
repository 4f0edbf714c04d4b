"""How sure a number is: intervals, comparisons and verdicts. Pure numerics: arrays in, arrays out."""

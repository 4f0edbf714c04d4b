"""Image generators that the bench can measure: adapters to real ones and the built-in microworld model."""

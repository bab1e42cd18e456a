"""A run's recipe in a few words."""

from benchmark.configuration import RunConfig


def recipe(config: RunConfig) -> str:
    """Return the optimiser and what is done to images and labels, such as ``adamw + randaugment + cutmix``.

    What is off is not named; how an image is augmented always is.
    """
    train, data = config.train, config.data
    words = [train.optimizer, "no augmentation" if data.augment == "none" else f"{data.augment} augmentation"]
    if data.erase:
        words.append(f"erase {data.erase:g}")
    if data.mix != "none":
        words.append(data.mix if data.mix_alpha == 1 else f"{data.mix} (alpha {data.mix_alpha:g})")
    if train.label_smoothing:
        words.append(f"label smoothing {train.label_smoothing:g}")
    return " + ".join(words)

"""A training as a picture."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")


def draw_curves(history: list[dict[str, float]], best_epoch: int, path: Path) -> None:
    """Write losses and validation scores by epoch, with the chosen epoch marked, as a PNG."""
    from matplotlib import pyplot as plt

    epochs = [row["epoch"] + 1 for row in history]
    figure, (loss, score) = plt.subplots(1, 2, figsize=(11, 4.2))
    for name, label, style in (("train_loss", "training", "--"), ("val_loss", "validation", "-")):
        loss.plot(epochs, [row[name] for row in history], style, label=label, color="#0072B2", linewidth=2)
    scores = (("val_accuracy", "accuracy", "#0072B2"), ("val_macro_f1", "macro F1", "#D55E00"))
    for name, label, colour in scores:
        score.plot(epochs, [row[name] for row in history], label=label, color=colour, linewidth=2)
    loss.set_title("Loss (training loss: smoothed labels, augmented faces)", fontsize=11, loc="left")
    score.set_title("Validation scores", fontsize=11, loc="left")
    score.set_ylim(0, 1)
    for axes in (loss, score):
        axes.axvline(best_epoch + 1, color="#999999", linewidth=1, linestyle=":")
        axes.set_xlabel(f"epoch (dotted: epoch {best_epoch + 1}, whose weights are kept)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)

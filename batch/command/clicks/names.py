"""What metrics of click models are called on a terminal."""

NAMES = {
    "auc": "AUC",
    "log_loss": "log loss",
    "ne": "normalised entropy",
    "ece": "calibration error",
    "ratio": "mean prediction / CTR",
    "lift1": "lift at 1 %",
    "lift5": "lift at 5 %",
}

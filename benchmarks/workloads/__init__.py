"""What is measured: a module each, whose ``workload(share)`` does that share of the full number of steps."""

NAMES = ["imports", "sklearn_fits", "sklearn_search", "sklearn_predict", "sklearn_metric"]
NAMES += ["keras_fit", "lightning_fit", "transformers_fit", "optuna_study", "gradient_norms"]

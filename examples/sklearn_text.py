"""Which package is a docstring from? Sparse text features, and the words that tell.

The texts are docstrings of functions and classes in NumPy, SciPy, pandas and scikit-learn, as installed here.

    python examples/sklearn_text.py && trackio show --project docstrings
"""

import importlib
import inspect

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

import autolog

MODULES = {
    "numpy": ["numpy", "numpy.linalg", "numpy.random", "numpy.fft", "numpy.ma"],
    "scipy": ["scipy.stats", "scipy.optimize", "scipy.signal", "scipy.linalg", "scipy.sparse"],
    "pandas": ["pandas", "pandas.DataFrame", "pandas.Series", "pandas.Index"],
    "sklearn": ["sklearn.metrics", "sklearn.preprocessing", "sklearn.linear_model", "sklearn.datasets"],
}


def docstrings(place: str) -> set[str]:
    """The docstrings of what a module or class offers, without its examples."""
    module, _, name = place.rpartition(".")
    try:
        owner = importlib.import_module(place)
    except ImportError:
        owner = getattr(importlib.import_module(module), name)
    found = (inspect.getdoc(thing) for name, thing in vars(owner).items() if not name.startswith("_"))
    return {text.split("Examples\n")[0] for text in found if text and len(text) > 200}


autolog.enable(project="docstrings")

labelled = {text: package for package, places in MODULES.items() for p in places for text in docstrings(p)}
texts, packages = list(labelled), list(labelled.values())
train, test, y_train, y_test = train_test_split(texts, packages, stratify=packages, random_state=0)
print(f"{len(train)} docstrings to learn from, {len(test)} to be tested on")

# Names of the package itself would give it away.
words = TfidfVectorizer(stop_words=["numpy", "np", "scipy", "sp", "pandas", "pd", "sklearn"], min_df=3)
model = make_pipeline(words, SGDClassifier(loss="log_loss", random_state=0)).fit(train, y_train)
print(f"test accuracy {accuracy_score(y_test, model.predict(test)):.3f}")

# What it shows: a run whose training data are texts. Its coefficients are called by the words themselves, and
# the best and worst predictions stand beside their text.
